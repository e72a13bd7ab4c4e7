// Reads what to try from standard input, a list of objects, and prints what came of each; both are JSON.
import { text } from 'node:stream/consumers'

export async function tryAll(attempt) {
  const outcomes = []
  for (const options of JSON.parse(await text(process.stdin))) {
    outcomes.push(await outcome(attempt, options))
  }
  console.log(JSON.stringify(outcomes))
}

async function outcome(attempt, options) {
  try {
    return { ok: await attempt(options) }
  } catch (error) {
    return { refused: error.code ?? error.name, why: error.message }
  }
}
