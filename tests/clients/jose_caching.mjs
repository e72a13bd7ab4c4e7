// How jose's createRemoteJWKSet keeps keys: see steps.mjs.
//
// Usage: NODE_EXTRA_CA_CERTS=CA_FILE node jose_caching.mjs SERVER OPERATIONS < [GOOD TOKEN, TOKEN OF AN UNKNOWN KEY]
import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose'
import { fails, good, step, tell, unknown, wait } from './steps.mjs'

let away = false
const cut = (...request) => (away ? Promise.reject(new Error('away')) : fetch(...request))
const keys = createRemoteJWKSet(new URL(`${process.argv[2]}/.well-known/jwks.json`), { [customFetch]: cut })
const verify = (token) => jwtVerify(token, keys)

await step('a hundred tokens', async () => {
  for (let i = 0; i < 100; i++) await verify(good)
})
await step('an unknown key at once', () => fails(verify(unknown)))
wait(31)
await step('an unknown key after 31 s', () => fails(verify(unknown)))
await step('another one', () => fails(verify(unknown)))
wait(599)
await step('599 s after that', () => verify(good))
wait(2)
await step('601 s after that', () => verify(good))
await step('ten at once, none kept', async () => {
  wait(601)
  await Promise.all(Array.from({ length: 10 }, () => verify(good)))
})
away = true
wait(599)
await step('away, keys fresh', () => verify(good))
wait(2)
await step('away, keys too old', () => fails(verify(good)))
away = false
await step('back', () => verify(good))
tell()
