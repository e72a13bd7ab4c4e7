// oauth4webapi: introspection (RFC 7662) with client_secret_basic, and revocation (RFC 7009), after discovery.
//
// Usage: NODE_EXTRA_CA_CERTS=CA_FILE node oauth4webapi_introspect.mjs SERVER < CASES
import * as oauth from 'oauth4webapi'
import { tryAll } from './cases.mjs'

const issuer = new URL(process.argv[2])
const discovery = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' })
const as = await oauth.processDiscoveryResponse(issuer, discovery)

// client_id is the id of the API's own account, client_secret that account's token.
async function introspect({ token, client_id, client_secret }) {
  const client = { client_id }
  const authentication = oauth.ClientSecretBasic(client_secret)
  const response = await oauth.introspectionRequest(as, client, authentication, token)
  return await oauth.processIntrospectionResponse(as, client, response)
}

// Whoever holds a token may end it.
async function revoke({ token, client_id }) {
  const response = await oauth.revocationRequest(as, { client_id }, oauth.None(), token)
  await oauth.processRevocationResponse(response)
  return response.status
}

const calls = { introspect, revoke }
await tryAll(({ do: call, ...options }) => calls[call](options))
