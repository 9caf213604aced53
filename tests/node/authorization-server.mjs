// One process for a test: authorization server, control API and resource API, each on a loopback port of its own.
//
//   node authorization-server.mjs '{"port":0,"clients":[…],"access_token_ttl":3600,"issued_file":"…"}'
//
// When all three listen, it prints one line of JSON on stdout: {issuer, port, control, resource}. It ends when its
// standard input does, so that no test can leave it behind.
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { client, control } from './control.mjs';
import { Faults } from './faults.mjs';
import { Memory } from './memory.mjs';
import { createProvider } from './provider.mjs';
import { serveResource } from './resource.mjs';

const options = JSON.parse(process.argv[2] ?? '{}');
const state = {
  accessTokenTtl: options.access_token_ttl ?? 3600,
  rotate: true,
  issueRefreshTokens: true,
  pkceRequired: true,
  counters: { exchanged: 0, refreshed: 0, reuse_detected: 0, grants_revoked: 0, revocations: 0 },
  tokenRequests: { authorization_code: 0, refresh_token: 0 },
  tokenLog: [],
  grantErrors: [],
  serverErrors: [],
  authorizations: 0,
  redirectUris: [],
  verifiersMissing: 0,
  resourceRequests: 0,
  unauthorized: 0,
  openStreams: 0,
};
const memory = new Memory((_kind, value) => {
  if (options.issued_file) appendFileSync(options.issued_file, `${value}\n`);
});
for (const entry of options.clients ?? []) memory.clients.set(entry.client_id, client(entry));

const listen = (server, port = 0) =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server.address().port));
  });

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const servers = { authorization: createServer(), control: createServer(), resource: createServer() };
// A test may close a thousand connections at once; none may wait for another's keep-alive.
for (const server of Object.values(servers)) server.keepAliveTimeout = 60_000;

const port = await listen(servers.authorization, options.port);
const issuer = `http://127.0.0.1:${port}`;
const provider = createProvider(issuer, memory, state);
const faults = new Faults();
const handle = provider.callback();

servers.authorization.on('request', async (request, response) => {
  const url = new URL(request.url, issuer);
  if (url.pathname === '/auth' && url.searchParams.has('client_id')) {
    state.authorizations += 1;
    state.redirectUris.push(url.searchParams.get('redirect_uri'));
  }
  if (url.pathname === '/token/revocation') state.counters.revocations += 1;
  if (url.pathname !== '/token' || request.method !== 'POST') {
    handle(request, response);
    return;
  }
  const body = await read(request);
  const form = new URLSearchParams(body.toString());
  const grant = form.get('grant_type') ?? 'none';
  state.tokenRequests[grant] = (state.tokenRequests[grant] ?? 0) + 1;
  const verifier = form.get('code_verifier');
  if (grant === 'authorization_code' && !verifier) state.verifiersMissing += 1;
  // It was given to nobody else, and is a secret like those that are issued.
  if (verifier && options.issued_file) appendFileSync(options.issued_file, `${verifier}\n`);
  request.body = Object.fromEntries(form);
  const via = url.searchParams.get('via') ?? undefined;
  logged(request, response, { grant, via, user: ownerOf(form.get('refresh_token')) });
  await faults.strike({ grant, via }, request, response, () => handle(request, response));
});

/** Whose refresh token that is, spent or not. */
function ownerOf(token) {
  return memory.model('RefreshToken').get(token)?.payload.accountId;
}

/**
 * Writes down what became of a token request, in milliseconds since 1970: `received`; `rotated`, once the provider has
 * spent the token; `sent`, once the answer is with the operating system; `cut`, when the client was gone before that.
 */
function logged(request, response, known) {
  const entry = { number: state.tokenLog.length, ...known, received: Date.now() };
  state.tokenLog.push(entry);
  request.logEntry = entry;
  response.once('finish', () => Object.assign(entry, { sent: Date.now(), status: response.statusCode }));
  response.once('close', () => {
    if (entry.sent === undefined) entry.cut = Date.now();
  });
}

const world = { provider, memory, state, faults };
servers.control.on('request', async (request, response) => {
  const answer = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  try {
    const text = (await read(request)).toString();
    const { pathname } = new URL(request.url, 'http://control');
    const result = await control(world, request.method, pathname, text ? JSON.parse(text) : {});
    if (result === undefined) answer(404, { error: `no ${request.method} ${pathname}` });
    else answer(200, result);
  } catch (error) {
    answer(500, { error: String(error?.stack ?? error) });
  }
});

const controlPort = await listen(servers.control);
const resourcePort = await listen(servers.resource);
const resource = `http://127.0.0.1:${resourcePort}`;
serveResource(servers.resource, {
  find: (token) => provider.AccessToken.find(token),
  state,
  base: () => resource,
});

process.stdin.on('end', () => process.exit(0)).resume();
process.stdout.write(`${JSON.stringify({ issuer, port, control: `http://127.0.0.1:${controlPort}`, resource })}\n`);
