// A cluster, asked each 15 seconds while the page is seen.

import { batch, effect, signal } from "@preact/signals"
import { freshness, refusal } from "../state.ts"
import type { Cluster, Part } from "../types.ts"
import { get, Refused } from "./api.ts"

export const EVERY = 15_000

export const cluster = signal<Cluster | null>(null)
/** Grows with each look: whoever shows something asks for it anew. */
export const look = signal(0)

/** Takes in when the data of an answer is of. */
export function noteAnswer(answer: Pick<Part, "now" | "timestamp" | "failure">): void {
  batch(() => {
    refusal.value = null
    freshness.value = {
      ...freshness.value,
      timestamp: answer.timestamp,
      age: Math.max(0, answer.now - answer.timestamp),
      received: performance.now(),
      failure: answer.failure,
      link: "live",
    }
  })
}

/** Takes in that there was no answer. */
export function noteFailure(error: unknown): void {
  batch(() => {
    if (error instanceof Refused && cluster.value === null) refusal.value = error.message
    const failure = error instanceof Refused ? error.message : null
    freshness.value = { ...freshness.value, link: "away", failure }
  })
}

async function ask(): Promise<void> {
  try {
    const answer = await get<Cluster>("cluster")
    batch(() => {
      cluster.value = answer
      noteAnswer(answer)
    })
  } catch (error) {
    noteFailure(error)
  }
}

/** Begins to follow the cluster. */
export function follow(): void {
  let last = 0
  const again = () => {
    if (document.visibilityState === "hidden") return
    last = performance.now()
    look.value += 1
    void ask()
  }
  again()
  setInterval(again, EVERY)
  document.addEventListener("visibilitychange", () => {
    if (performance.now() - last >= EVERY) again()
  })
}

/** Calls back at each look after the first. */
export function onLook(call: () => void): () => void {
  let first = true
  return effect(() => {
    void look.value
    if (first) first = false
    else call()
  })
}
