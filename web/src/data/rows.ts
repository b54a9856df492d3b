// Rows of a table: all there, or pages of a list that the server searches and sorts.

import { signal, type Signal } from "@preact/signals"
import { noteAnswer, noteFailure } from "./cluster.ts"
import { get, isAbort, Refused, type Query } from "./api.ts"
import { gather } from "./gather.ts"
import { messages } from "../i18n/index.ts"
import { instant } from "../lib/clock.ts"
import type { Part } from "../types.ts"

export interface Rows<T> {
  /** Null until it is known. */
  total: number | null
  at(index: number): T | undefined
  /** Says which rows are seen. */
  want(begin: number, end: number): void
  /** Every row that matches. */
  all(): Promise<T[]>
  /** Why there are none, or none that are newer. */
  failure: string | null
  /** When they are of, where it is not as the whole page is. */
  readonly of: number | null
  /** They are of the question before: the answer to this one is not there yet. */
  readonly waiting: boolean
  /** Grows when rows came: whoever shows them reads it, to be drawn again. */
  readonly version: { readonly value: number }
}

const SETTLED = { value: 0 }

export function local<T>(rows: T[] | null): Rows<T> {
  return {
    total: rows ? rows.length : null,
    at: (index) => rows?.[index],
    want: () => undefined,
    all: () => Promise.resolve(rows ?? []),
    failure: null,
    of: null,
    waiting: false,
    version: SETTLED,
  }
}

const PAGE = 200
/** Pages kept besides those that are seen. */
const KEPT = 30

/** The pages of one question. `field` is where the rows are in an answer. */
export class Pages<T> implements Rows<T> {
  total: number | null = null
  failure: string | null = null
  readonly version: Signal<number> = signal(0)
  /** The last answer, for what is in it besides the rows. */
  last: Part | null = null
  private readonly kept = new Map<number, T[]>()
  private readonly asked = new Map<number, AbortController>()
  private seen: [number, number] = [0, 0]
  private closed = false
  /** After a failure nothing is asked until the next refresh. */
  private held = false
  /** `performance.now()` before which the server does not want to be asked again. */
  private notBefore = 0
  waiting = false
  /** Whether its first question has ended, in whatever way. */
  settled = false

  constructor(private readonly name: string, private readonly field: string, private readonly query: Query) {
    this.want(0, 1)
  }

  get of(): number | null {
    return this.last?.timestamp ?? null
  }

  at(index: number): T | undefined {
    return this.kept.get(Math.floor(index / PAGE))?.[index % PAGE]
  }

  want(begin: number, end: number): void {
    const last = this.total === null ? end : Math.min(end, this.total)
    this.seen = [Math.floor(begin / PAGE), Math.floor(Math.max(begin, last - 1) / PAGE)]
    for (const [page, abort] of this.asked) {
      if (page < this.seen[0] - 1 || page > this.seen[1] + 1) abort.abort()
    }
    if (this.held) return
    for (let page = this.seen[0]; page <= this.seen[1]; page++) if (!this.kept.has(page)) void this.ask(page)
  }

  /** Asks anew for what is seen; it stays until the answer is there. Other pages are forgotten. */
  refresh(): void {
    if (performance.now() < this.notBefore) return
    this.held = false
    for (const page of this.kept.keys()) if (page < this.seen[0] || page > this.seen[1]) this.kept.delete(page)
    for (let page = this.seen[0]; page <= this.seen[1]; page++) void this.ask(page)
  }

  /** Gives up what is asked. */
  close(): void {
    this.closed = true
    for (const abort of this.asked.values()) abort.abort()
  }

  async all(): Promise<T[]> {
    return gather(async (offset) => {
      const answer = await get<Part & Record<string, unknown>>(this.name, { ...this.query, offset, limit: 1000 })
      return { timestamp: answer.timestamp, total: answer.total, rows: answer[this.field] as T[] }
    })
  }

  private async ask(page: number): Promise<void> {
    if (this.asked.has(page) || this.closed) return
    const abort = new AbortController()
    this.asked.set(page, abort)
    const asked = instant()
    try {
      const query = { ...this.query, offset: page * PAGE, limit: PAGE }
      const answer = await get<Part & Record<string, unknown>>(this.name, query, abort.signal)
      this.take(page, answer, answer[this.field] as T[])
      noteAnswer(answer, asked)
    } catch (error) {
      if (isAbort(error) || this.closed) return
      this.held = true
      this.settled = true
      // A refusal is of this list; that nobody answers is of all.
      if (error instanceof Refused) {
        this.failure = error.message
        this.notBefore = performance.now() + 1000 * (error.after ?? 0)
      } else {
        this.failure = messages.value.awayCluster
        noteFailure(error)
      }
    } finally {
      this.asked.delete(page)
      if (!this.closed) this.version.value += 1
    }
  }

  private take(page: number, answer: Part, rows: T[]): void {
    this.total = answer.total
    this.last = answer
    this.failure = null
    this.settled = true
    this.kept.delete(page)
    this.kept.set(page, rows)
    for (const old of this.kept.keys()) {
      if (this.kept.size <= KEPT) break
      if (old < this.seen[0] || old > this.seen[1]) this.kept.delete(old)
    }
  }
}
