// Counts how often the published keys were fetched, step by step. Reads two tokens from standard input as JSON.
import { text } from 'node:stream/consumers'

const FETCHES = 'countermark_requests_total{route="/.well-known/jwks.json",status="200"} '

export const [good, unknown] = JSON.parse(await text(process.stdin))

const told = {}

async function fetches() {
  const metrics = await (await fetch(`${process.argv[3]}/metrics`)).text()
  const lines = metrics.split('\n').filter((line) => line.startsWith(FETCHES))
  return lines.reduce((sum, line) => sum + Number(line.slice(FETCHES.length)), 0)
}

export async function step(name, doing) {
  const before = await fetches()
  await doing()
  told[name] = (await fetches()) - before
}

export async function fails(doing) {
  let passed = true
  await doing.catch(() => (passed = false))
  if (passed) throw new Error('it was not refused')
}

// What time has passed is made up: with the machine's own seconds in it, a slow step would make 299 s into 300.
const started = Date.now()
let passed = 0
Date.now = () => started + passed * 1000
export function wait(seconds) {
  passed += seconds
}

export function tell() {
  console.log(JSON.stringify(told))
}
