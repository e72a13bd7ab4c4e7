// jose's createRemoteJWKSet, with its own caching, verifies living tokens again and again while keys come and go: see pyjwt_rotation.py.
//
// Usage: NODE_EXTRA_CA_CERTS=CA_FILE node jose_rotation.mjs SERVER VERIFICATIONS_A_SECOND TIMES_FASTER
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'

const [server, rate, faster] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])]

// The caches' minutes pass in seconds.
const clock = Date.now
const started = clock()
Date.now = () => started + (clock() - started) * faster

const keys = createRemoteJWKSet(new URL(`${server}/.well-known/jwks.json`))
const living = []
const refused = []
let verified = 0
let open = true
// A token that lives no longer may still be looked at.
let looking = Promise.resolve()

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const token = line.slice(1)
    if (line.startsWith('+')) living.push(token)
    else living.splice(living.indexOf(token), 1)
    await looking
    console.log('ok')
  })
  .on('close', () => (open = false))

const look = async (token) => {
  try {
    await jwtVerify(token, keys, { issuer: server, audience: server })
    verified += 1
  } catch (error) {
    refused.push(`${decodeProtectedHeader(token).kid}: ${error.message}`)
  }
}

for (let number = 0, due = clock(); open; due = Math.max(due + 1000 / rate, clock() - 1000)) {
  if (living.length > 0) await (looking = look(living[number++ % living.length]))
  await sleep(Math.max(0, due - clock()))
}
console.log(JSON.stringify({ verified, refused }))
