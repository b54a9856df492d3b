// Questions to the server. A refusal is an error with the words of the server.

import type { Problem } from "../types.ts"

export class Refused extends Error {
  /** `after`: seconds after which to ask again, as the server has it. */
  constructor(readonly status: number, detail: string, readonly after: number | null = null) {
    super(detail)
    this.name = "Refused"
  }
}

export type Query = Record<string, string | number | undefined>

export function path(name: string, query: Query = {}): string {
  const asked = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) if (value !== undefined) asked.set(key, String(value))
  const text = asked.toString()
  return `/api/v1/${name}${text && `?${text}`}`
}

/** Milliseconds after which there is no answer: more than a server takes for a question about the past. */
const PATIENCE = 90_000

/** Does something that ends with `abort`, or after a while. */
export async function within<T>(abort: AbortSignal | undefined, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const own = new AbortController()
  const give = () => own.abort()
  const timer = setTimeout(() => own.abort(new DOMException("no answer", "TimeoutError")), PATIENCE)
  abort?.addEventListener("abort", give)
  if (abort?.aborted) give()
  try {
    return await act(own.signal)
  } finally {
    clearTimeout(timer)
    abort?.removeEventListener("abort", give)
  }
}

/** The refusal that an answer is. */
export async function refused(response: Response): Promise<Refused> {
  const after = Number.parseInt(response.headers.get("retry-after") ?? "", 10)
  return new Refused(response.status, await problem(response), Number.isNaN(after) ? null : after)
}

async function problem(response: Response): Promise<string> {
  const words = `${response.status} ${response.statusText}`.trim()
  if (!/\bjson\b/.test(response.headers.get("content-type") ?? "")) return words
  const document = (await response.json().catch(() => null)) as Partial<Problem> | null
  return document?.detail ?? document?.title ?? words
}

export async function get<T>(name: string, query: Query = {}, abort?: AbortSignal): Promise<T> {
  return within(abort, async (signal) => {
    const response = await fetch(path(name, query), { headers: { accept: "application/json" }, signal })
    if (!response.ok) throw await refused(response)
    return (await response.json()) as T
  })
}

/** Whether a question was given up by who asked it. */
export const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError"

/** All pages of a list of a node; `name` is the path and the field. At most `most` items. */
export async function pages<T>(name: string, query: Query, most: number, abort?: AbortSignal): Promise<{ items: T[]; more: boolean }> {
  const items: T[] = []
  let cursor: string | undefined
  do {
    const page = await get<Record<string, unknown>>(name, { ...query, limit: Math.min(1000, most), cursor }, abort)
    items.push(...(page[name] as T[]))
    cursor = page["next_cursor"] as string | undefined
  } while (cursor !== undefined && items.length < most)
  return { items: items.slice(0, most), more: cursor !== undefined || items.length > most }
}
