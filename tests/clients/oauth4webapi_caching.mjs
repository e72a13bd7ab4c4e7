// How oauth4webapi keeps keys: see steps.mjs.
//
// Usage: NODE_EXTRA_CA_CERTS=CA_FILE node oauth4webapi_caching.mjs SERVER OPERATIONS < [GOOD TOKEN, TOKEN OF AN UNKNOWN KEY]
import * as oauth from 'oauth4webapi'
import { fails, good, step, tell, unknown, wait } from './steps.mjs'

const issuer = new URL(process.argv[2])
const discover = async () => oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer))
let as = await discover()

let away = false
const cut = (...request) => (away ? Promise.reject(new Error('away')) : fetch(...request))
const verify = (token) => {
  const request = new Request(issuer, { headers: { authorization: `Bearer ${token}` } })
  return oauth.validateJwtAccessToken(as, request, as.issuer, { [oauth.customFetch]: cut })
}

await step('a hundred tokens', async () => {
  for (let i = 0; i < 100; i++) await verify(good)
})
await step('an unknown key at once', () => fails(verify(unknown)))
wait(61)
await step('an unknown key after 61 s', () => fails(verify(unknown)))
await step('another one', () => fails(verify(unknown)))
wait(299)
await step('299 s after that', () => verify(good))
wait(2)
await step('301 s after that', () => verify(good))
as = await discover()
await step('after another discovery', () => verify(good))
away = true
wait(299)
await step('away, keys fresh', () => verify(good))
wait(2)
await step('away, keys too old', () => fails(verify(good)))
away = false
await step('back', () => verify(good))
tell()
