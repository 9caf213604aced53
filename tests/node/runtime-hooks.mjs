// Lets `import * as crypto from 'node:crypto'` find `crypto.hash`, which came with Node.js 20.12.
const SHIM = `data:text/javascript,${encodeURIComponent(`
  import { createHash } from 'node:crypto';
  export * from 'node:crypto';
  export { default } from 'node:crypto';
  export const hash = (name, data, encoding = 'hex') =>
    encoding === 'buffer' ? createHash(name).update(data).digest() : createHash(name).update(data).digest(encoding);
`)}`;

export async function resolve(specifier, context, next) {
  if (specifier === 'node:crypto' && !context.parentURL?.startsWith('data:')) return { url: SHIM, shortCircuit: true };
  return next(specifier, context);
}
