// oauth4webapi: an API that validates access tokens as RFC 9068 says, after discovery.
//
// Usage: NODE_EXTRA_CA_CERTS=CA_FILE node oauth4webapi_verify.mjs SERVER oidc|oauth2 < CASES
import * as oauth from 'oauth4webapi'
import { tryAll } from './cases.mjs'

const server = new URL(process.argv[2])
const discovery = await oauth.discoveryRequest(server, { algorithm: process.argv[3] })
// The keys are kept with this object, for five minutes.
const discovered = await oauth.processDiscoveryResponse(server, discovery)

await tryAll(async ({ token, issuer, audience, algorithms }) => {
  const as = issuer === discovered.issuer ? discovered : { ...discovered, issuer }
  const request = new Request(audience, { headers: { authorization: `Bearer ${token}` } })
  return await oauth.validateJwtAccessToken(as, request, audience, { signingAlgorithms: algorithms })
})
