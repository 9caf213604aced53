// The real authorization server: npm's oidc-provider, strict. Rotating refresh tokens with reuse detection, PKCE S256
// required unless a test says otherwise, `iss` in the authorization response, opaque access tokens, its own login and consent pages.
import './runtime.mjs';

const { default: Provider } = await import('oidc-provider');

const SCOPES = ['openid', 'offline_access', 'contacts', 'calendar', 'repo', 'gist', 'read:org', 'user:email'];
const DAY = 24 * 60 * 60;

/** What the tests count. `state.accessTokenTtl` may change while it runs. */
export function createProvider(issuer, memory, state) {
  const provider = new Provider(issuer, {
    adapter: memory.adapter(),
    scopes: SCOPES,
    cookies: { keys: ['test-cookie-key'] },
    pkce: { required: () => state.pkceRequired },
    responseTypes: ['code'],
    rotateRefreshToken: () => state.rotate,
    issueRefreshToken: async (_ctx, client) => state.issueRefreshTokens && client.grantTypeAllowed('refresh_token'),
    features: {
      devInteractions: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
    },
    claims: { openid: ['sub'], email: ['email'], profile: ['name'] },
    findAccount: async (_ctx, id) => ({
      accountId: id,
      claims: async () => ({ sub: id, email: `${id}@example.com`, name: `Person ${id}` }),
    }),
    ttl: {
      AccessToken: () => state.accessTokenTtl,
      AuthorizationCode: 60,
      Grant: 14 * DAY,
      IdToken: 3600,
      Interaction: 3600,
      RefreshToken: 14 * DAY,
      Session: 14 * DAY,
    },
  });
  // Its pages ask a font server of the internet; the tests have none.
  provider.use(async (ctx, next) => {
    await next();
    if (typeof ctx.body === 'string' && ctx.response.is('html')) ctx.body = ctx.body.replace(/@import url\([^)]*\);/g, '');
  });
  provider.on('grant.success', (ctx) => {
    if (ctx.oidc.params.grant_type === 'refresh_token') {
      state.counters.refreshed += 1;
      ctx.req.logEntry.rotated = Date.now();
    }
    if (ctx.oidc.params.grant_type === 'authorization_code') state.counters.exchanged += 1;
  });
  provider.on('grant.error', (ctx, error) => {
    const detail = `${error.error}: ${error.error_detail ?? error.error_description ?? ''}`;
    state.grantErrors.push(detail);
    if (ctx.req.logEntry) ctx.req.logEntry.error = detail;
    if (/already used|already consumed/.test(detail)) state.counters.reuse_detected += 1;
  });
  provider.on('grant.revoked', () => {
    state.counters.grants_revoked += 1;
  });
  provider.on('server_error', (_ctx, error) => {
    state.serverErrors.push(String(error?.stack ?? error));
  });
  return provider;
}
