import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import { get, Refused, type Query } from "../data/api.ts"
import { noteFailure, onLook } from "../data/cluster.ts"
import { Pages } from "../data/rows.ts"
import { messages } from "../i18n/index.ts"
import { elapsed, instant, type Instant } from "../lib/clock.ts"
import { isCluster } from "../state.ts"

/** Rows of a list of the cluster, asked anew at each look. What was there stays until the new is. */
export function usePages<T>(name: string, field: string, query: Query): Pages<T> {
  const key = JSON.stringify([name, query])
  const asked = useMemo(() => new Pages<T>(name, field, query), [key])
  const ready = useRef(asked)
  useEffect(() => {
    const stop = onLook(() => asked.refresh())
    return () => {
      stop()
      asked.close()
    }
  }, [asked])
  void asked.version.value
  if (asked.settled) ready.current = asked
  ready.current.waiting = ready.current !== asked
  return ready.current
}

export interface Asked<T> {
  value: T | null
  failure: string | null
  pending: boolean
}

const AGAIN = 60_000
/** Lists of now: they are asked with each look, so that they are not older than what is above them. */
const OF_NOW = ["cluster/nodes", "cluster/users", "cluster/sessions"]

const said = (error: unknown) => (error instanceof Refused ? error.message : isCluster.value ? messages.value.awayCluster : messages.value.awayNode)

/** Asks now, and anew each minute or with each look, while the page is seen; one question at a time. Returns its end. */
function askedAgain(name: string, look: () => Promise<number>): () => void {
  const each = isCluster.value && OF_NOW.includes(name)
  let asking = false
  let last: Instant | null = null
  let wait = 0
  const ask = async () => {
    if (document.visibilityState === "hidden" || asking) return
    if (last !== null && elapsed(last, instant()) < wait) return
    asking = true
    last = instant()
    wait = await look()
    asking = false
  }
  const seen = () => {
    if (last === null || elapsed(last, instant()) * 1000 >= AGAIN) void ask()
  }
  void ask()
  const stop = each ? onLook(() => void ask()) : () => undefined
  const timer = each ? undefined : setInterval(() => void ask(), AGAIN)
  document.addEventListener("visibilitychange", seen)
  return () => {
    stop()
    clearInterval(timer)
    document.removeEventListener("visibilitychange", seen)
  }
}

/** An answer that is kept new; nothing is asked where the name is null. */
export function useAsked<T>(name: string | null, query: Query, ask: (query: Query, abort: AbortSignal) => Promise<T> = (asked, abort) => get<T>(name ?? "", asked, abort)): Asked<T> {
  const key = name === null ? null : JSON.stringify([name, query])
  const [state, setState] = useState<Asked<T> & { key: string | null }>({ key: null, value: null, failure: null, pending: true })
  useEffect(() => {
    if (key === null || name === null) return
    const abort = new AbortController()
    // Seconds in which it is not to be asked again.
    const look = async (): Promise<number> => {
      try {
        const value = await ask(query, abort.signal)
        if (!abort.signal.aborted) setState({ key, value, failure: null, pending: false })
        return 0
      } catch (error) {
        if (abort.signal.aborted) return 0
        if (isCluster.value && !(error instanceof Refused)) noteFailure(error)
        setState((before) => ({ key, value: before.key === key ? before.value : null, failure: said(error), pending: false }))
        return error instanceof Refused ? (error.after ?? 0) : 0
      }
    }
    const end = askedAgain(name, look)
    return () => {
      end()
      abort.abort()
    }
  }, [key])
  return state.key === key ? state : { value: null, failure: null, pending: key !== null }
}

/** Width of an element, as it changes. */
export function useWidth(): [(element: Element | null) => void, number] {
  const [width, setWidth] = useState(0)
  const observer = useRef<ResizeObserver | null>(null)
  const attach = useRef((element: Element | null) => {
    observer.current?.disconnect()
    if (!element) return
    observer.current = new ResizeObserver(([entry]) => entry && setWidth(Math.floor(entry.contentRect.width)))
    observer.current.observe(element)
    setWidth(Math.floor(element.getBoundingClientRect().width))
  })
  return [attach.current, width]
}
