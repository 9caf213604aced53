// What oidc-provider expects of its runtime and Debian's Node.js 18 lacks. Nothing here has an effect on Node.js 22.
import * as crypto from 'node:crypto';
import { register } from 'node:module';

globalThis.crypto ??= crypto.webcrypto;
globalThis.CryptoKey ??= crypto.webcrypto.CryptoKey;
URL.parse ??= (input, base) => {
  try {
    return new URL(input, base);
  } catch {
    return null;
  }
};
if (!crypto.hash) register('./runtime-hooks.mjs', import.meta.url);
