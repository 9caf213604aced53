// The control API: what a test may ask of the authorization server behind its back. JSON in, JSON out.

/** Handles one control request; `world` is what authorization-server.mjs wires together. */
export async function control(world, method, path, body) {
  const { state, memory, faults } = world;
  switch (`${method} ${path}`) {
    case 'GET /state':
      return {
        ...state.counters,
        token_requests: state.tokenRequests,
        held: faults.held,
        grant_errors: state.grantErrors,
        server_errors: state.serverErrors,
        resource_requests: state.resourceRequests,
        unauthorized: state.unauthorized,
        open_streams: state.openStreams,
        authorizations: state.authorizations,
        redirect_uris_seen: state.redirectUris,
        code_verifiers_missing: state.verifiersMissing,
      };
    case 'GET /token-log':
      return state.tokenLog;
    case 'POST /clients':
      memory.clients.set(body.client_id, client(body));
      return {};
    case 'POST /settings':
      for (const [key, value] of Object.entries(body)) {
        if (!(key in SETTINGS)) throw new Error(`unknown setting ${key}`);
        state[SETTINGS[key]] = value;
      }
      return {};
    case 'POST /faults':
      faults.add(body);
      return {};
    case 'DELETE /faults':
      faults.clear();
      return {};
    case 'POST /release':
      return { released: faults.release() };
    case 'POST /revoke':
      return { revoked: revoke(memory, body) };
    case 'GET /tokens':
      return {
        access: memory.live('AccessToken').map(describe),
        refresh: memory.live('RefreshToken').filter((token) => !token.consumed).map(describe),
      };
    case 'POST /mint':
      return mint(world, body);
    default:
      return undefined;
  }
}

const SETTINGS = {
  access_token_ttl: 'accessTokenTtl',
  rotate: 'rotate',
  issue_refresh_tokens: 'issueRefreshTokens',
  scope_challenge: 'scopeChallenge',
  pkce_required: 'pkceRequired',
};

/** A client as oidc-provider's metadata, from the little that tests care for. */
export function client({ client_id, client_secret, redirect_uris, auth_method }) {
  return {
    client_id,
    client_secret,
    redirect_uris,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: auth_method ?? 'client_secret_basic',
  };
}

const describe = (token) => ({ token: token.id, user: token.accountId, scope: token.scope, client_id: token.clientId });

/** Ends tokens: `{what: access|refresh|grant, user?, token?}`; nobody named means everybody's. */
function revoke(memory, { what, user, token }) {
  const kinds = { access: ['AccessToken'], refresh: ['RefreshToken'], grant: ['AccessToken', 'RefreshToken', 'Grant'] }[what];
  if (!kinds) throw new Error(`what must be access, refresh or grant, not ${what}`);
  let count = 0;
  for (const kind of kinds) {
    for (const record of memory.live(kind)) {
      if (user !== undefined && record.accountId !== user) continue;
      if (token !== undefined && record.id !== token) continue;
      memory.delete(kind, record.id);
      count += 1;
    }
  }
  return count;
}

/** Issues tokens without a browser, as if the user had consented: `{client_id, user, scope}`. */
async function mint({ provider, state }, { client_id, user, scope }) {
  const owner = await provider.Client.find(client_id);
  const grant = new provider.Grant({ accountId: user, clientId: client_id });
  grant.addOIDCScope(scope);
  const grantId = await grant.save();
  const common = { accountId: user, client: owner, grantId, scope, gty: 'authorization_code' };
  const access = await new provider.AccessToken(common).save();
  const refresh = await new provider.RefreshToken(common).save();
  return { access_token: access, refresh_token: refresh, expires_in: state.accessTokenTtl };
}
