// A cluster, asked each 15 seconds while the page is seen.

import { batch, effect, signal } from "@preact/signals"
import { elapsed, instant, lateAfter, type Instant } from "../lib/clock.ts"
import { freshness, refusal } from "../state.ts"
import type { Cluster, Part } from "../types.ts"
import { get, Refused } from "./api.ts"

export const EVERY = 15_000

export const cluster = signal<Cluster | null>(null)
/** Grows with each look: whoever shows something asks for it anew. */
export const look = signal(0)

/** Takes in when the data of an answer is of, which was asked for then. */
export function noteAnswer(answer: Pick<Part, "now" | "timestamp" | "failure" | "refresh_seconds">, asked: Instant): void {
  batch(() => {
    refusal.value = null
    freshness.value = {
      ...freshness.value,
      timestamp: answer.timestamp,
      age: Math.max(0, answer.now - answer.timestamp),
      received: asked,
      failure: answer.failure,
      link: "live",
      lateAfter: lateAfter(answer.refresh_seconds),
    }
  })
}

/** Takes in that there was no answer. */
export function noteFailure(error: unknown): void {
  batch(() => {
    if (error instanceof Refused && cluster.value === null) refusal.value = error.message
    const refused = error instanceof Refused
    freshness.value = { ...freshness.value, link: refused ? "refused" : "away", failure: refused ? error.message : null }
  })
}

let asking = false

async function ask(): Promise<void> {
  if (asking) return
  asking = true
  const asked = instant()
  try {
    const answer = await get<Cluster>("cluster")
    batch(() => {
      cluster.value = answer
      noteAnswer(answer, asked)
    })
  } catch (error) {
    noteFailure(error)
  } finally {
    asking = false
  }
}

/** Begins to follow the cluster. */
export function follow(): void {
  let last: Instant | null = null
  const again = () => {
    if (document.visibilityState === "hidden") return
    last = instant()
    look.value += 1
    void ask()
  }
  again()
  setInterval(again, EVERY)
  document.addEventListener("visibilitychange", () => {
    if (last === null || elapsed(last, instant()) * 1000 >= EVERY) again()
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
