// openid-client: introspection (RFC 7662) and revocation (RFC 7009), after discovery.
//
// Usage: NODE_EXTRA_CA_CERTS=CA_FILE node openid_client_introspect.mjs SERVER oidc|oauth2 < CASES
import * as client from 'openid-client'
import { tryAll } from './cases.mjs'

const server = new URL(process.argv[2])
const options = { algorithm: process.argv[3] }

// client_id is the id of the API's own account, client_secret that account's token.
async function introspect({ token, client_id, client_secret }) {
  const authentication = client.ClientSecretBasic(client_secret)
  const config = await client.discovery(server, client_id, {}, authentication, options)
  return await client.tokenIntrospection(config, token)
}

// Whoever holds a token may end it.
async function revoke({ token, client_id }) {
  const config = await client.discovery(server, client_id, {}, client.None(), options)
  await client.tokenRevocation(config, token)
  return 200
}

const calls = { introspect, revoke }
await tryAll(({ do: call, ...options }) => calls[call](options))
