// The resource API: the tests' upstream. It accepts only access tokens that the authorization server calls live.
import { createHash } from 'node:crypto';
import { WebSocketServer } from 'ws';

/** Attaches the API to an `http.Server`. `find` looks a token up at the authorization server. */
export function serveResource(server, { find, state, base }) {
  server.on('request', (request, response) => {
    handle(request, response, { find, state, base }).catch((error) => {
      if (!response.headersSent) json(response, 500, { error: String(error) });
      else response.destroy();
    });
  });
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', async (request, socket, head) => {
    state.resourceRequests += 1;
    const token = await live(request, find);
    if (!token || !request.url.startsWith('/ws')) {
      const status = token ? '404 Not Found' : '401 Unauthorized';
      socket.end(`HTTP/1.1 ${status}\r\nWWW-Authenticate: ${INVALID}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (peer) => {
      peer.send(JSON.stringify({ sub: token.accountId, headers: request.rawHeaders }));
      peer.on('message', (data, binary) => peer.send(data, { binary }));
    });
  });
}

const INVALID = 'Bearer error="invalid_token", error_description="The access token is not live"';

async function live(request, find) {
  const [, value] = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '') ?? [];
  return value ? find(value) : undefined;
}

function json(response, status, body, headers = {}) {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers });
  response.end(text);
}

async function digest(request) {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of request) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

async function handle(request, response, { find, state, base }) {
  state.resourceRequests += 1;
  const token = await live(request, find);
  if (!token) {
    state.unauthorized += 1;
    response.setHeader('x-upstream', 'resource-api');
    json(response, 401, { error: 'invalid_token' }, { 'www-authenticate': INVALID });
    return;
  }
  const url = new URL(request.url, base());
  const segments = url.pathname.split('/').slice(1);
  // The same API once more under a path, for a `base_url` that has one.
  const prefix = segments[0] === 'v1' ? `/${segments.shift()}` : '';
  const [first, second] = segments;
  const route = ROUTES[first];
  if (!route) {
    json(response, 404, { error: 'no such thing', path: request.url });
    return;
  }
  await route({ request, response, url, token, state, base: base() + prefix, argument: second });
}

const scopesOf = (token) => (token.scope ?? '').split(' ').filter(Boolean);

const describe = (request, token) => ({
  sub: token.accountId,
  scope: token.scope ?? '',
  method: request.method,
  path: request.url,
  headers: request.rawHeaders,
});

const ROUTES = {
  // Who the upstream thinks is calling, and exactly what it was sent.
  whoami({ request, response, token }) {
    request.resume();
    json(response, 200, describe(request, token));
  },

  // The body comes back as it streams in; method and headers in x-echo-*.
  echo({ request, response, token }) {
    response.writeHead(200, {
      'content-type': request.headers['content-type'] ?? 'application/octet-stream',
      'x-echo-method': request.method,
      'x-echo-path': request.url,
      'x-echo-sub': token.accountId,
      'x-echo-headers': encodeURIComponent(JSON.stringify(request.rawHeaders)),
    });
    request.pipe(response);
  },

  // n bytes: the repeated alphabet, so that both ends can compute the digest.
  async bytes({ response, argument }) {
    let left = Number(argument);
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': left });
    const block = Buffer.alloc(65536, 'abcdefghijklmnopqrstuvwxyz0123456789-_ABCDEFGHIJKLMNOPQRSTUVWXYZ'.slice(0, 64));
    while (left > 0) {
      const part = left < block.length ? block.subarray(0, left) : block;
      left -= part.length;
      if (!response.write(part)) {
        await new Promise((resolve) => {
          response.once('drain', resolve);
          response.once('close', resolve);
        });
        if (response.destroyed) return;
      }
    }
    response.end();
  },

  async sink({ request, response }) {
    json(response, 200, await digest(request));
  },

  // Server-sent events: the first at once, the others `ms` apart; `n=0` goes on until the client leaves.
  events({ response, url, state }) {
    const total = Number(url.searchParams.get('n') ?? 3);
    const pause = Number(url.searchParams.get('ms') ?? 10);
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    let sent = 0;
    const timer = setInterval(emit, pause);
    state.openStreams += 1;
    response.on('close', () => {
      clearInterval(timer);
      state.openStreams -= 1;
    });
    emit();
    function emit() {
      sent += 1;
      response.write(`id: ${sent}\ndata: {"n":${sent}}\n\n`);
      if (sent === total) {
        clearInterval(timer);
        response.end();
      }
    }
  },

  // RFC 8288 pagination with absolute URLs under our own base, one foreign and one relative.
  page({ response, url, base }) {
    const page = Number(url.searchParams.get('page') ?? 1);
    const links = [
      `<${base}/page?page=${page + 1}>; rel="next"`,
      `<${base}/page?page=9>; rel="last"`,
      '<https://elsewhere.example/docs>; rel="help"',
      '</page?page=1>; rel="first"',
    ];
    json(response, 200, { page }, { link: links.join(', '), 'content-location': `${base}/page?page=${page}` });
  },

  redirect({ response, url }) {
    const to = url.searchParams.get('to') ?? '/whoami';
    response.writeHead(Number(url.searchParams.get('status') ?? 302), { location: to, 'content-length': 0 });
    response.end();
  },

  // 403 in RFC 6750's words unless the token has the scope.
  scoped({ response, token, argument, state }) {
    const scope = decodeURIComponent(argument ?? '');
    if (scopesOf(token).includes(scope)) {
      json(response, 200, { scope });
      return;
    }
    const status = state.scopeChallenge ?? 403;
    json(response, status, { error: 'insufficient_scope' }, {
      'www-authenticate': `Bearer error="insufficient_scope", scope="${scope}"`,
    });
  },

  // An answer with any status; 401 here is the upstream's own while the token lives.
  status({ request, response, argument }) {
    request.resume();
    const code = Number(argument);
    if (code === 204 || code === 304) {
      response.writeHead(code, { etag: '"fixed"' });
      response.end();
      return;
    }
    json(response, code, { status: code });
  },

  html({ response, url }) {
    const type = url.searchParams.get('type') ?? 'text/html; charset=utf-8';
    const headers = type === 'none' ? {} : { 'content-type': type };
    response.writeHead(200, headers);
    response.end('<!doctype html><script>document.title = "ran"</script>');
  },

  // Every response header that a proxy on its own origin must not pass on.
  cookies({ response }) {
    json(response, 200, {}, {
      'set-cookie': ['upstream=1; Path=/', 'second=2; HttpOnly'],
      'clear-site-data': '"*"',
      'strict-transport-security': 'max-age=31536000',
      'alt-svc': 'h3=":443"',
      'service-worker-allowed': '/',
      nel: '{"report_to":"default","max_age":1}',
      'report-to': '{"group":"default"}',
      'cache-control': 'public, max-age=600, s-maxage=600',
      'valetkey-status': 'auth_required',
      'valetkey-token': 'forged',
      'proxy-authenticate': 'Basic realm="upstream"',
      'keep-alive': 'timeout=5',
      'x-kept': 'yes',
    });
  },

  async slow({ request, response, url, token }) {
    await new Promise((resolve) => setTimeout(resolve, Number(url.searchParams.get('ms') ?? 100)));
    json(response, 200, describe(request, token));
  },
};
