// jose: tokens are verified by the published keys, with the claims that RFC 9068 demands.
//
// Usage: NODE_EXTRA_CA_CERTS=CA_FILE node jose_verify.mjs SERVER < CASES
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { tryAll } from './cases.mjs'

const metadata = await (await fetch(`${process.argv[2]}/.well-known/oauth-authorization-server`)).json()
// Keeps the keys for ten minutes, and asks again for a kid that it doesn't know, twice a minute at the most.
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri))

await tryAll(async ({ token, issuer, audience, algorithms }) => {
  const { payload } = await jwtVerify(token, keys, {
    issuer,
    audience,
    algorithms,
    typ: 'at+jwt',
    requiredClaims: ['exp', 'iat', 'sub', 'jti', 'client_id'],
  })
  return payload
})
