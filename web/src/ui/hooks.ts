import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import { get, isAbort, Refused, type Query } from "../data/api.ts"
import { noteFailure, onLook } from "../data/cluster.ts"
import { Pages } from "../data/rows.ts"
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
  if (asked.total !== null || asked.failure !== null) ready.current = asked
  return ready.current
}

export interface Asked<T> {
  value: T | null
  failure: string | null
  pending: boolean
}

const AGAIN = 60_000

/** An answer, asked anew each minute while the page is seen; nothing is asked where the name is null. */
export function useAsked<T>(name: string | null, query: Query, ask: (query: Query, abort: AbortSignal) => Promise<T> = (asked, abort) => get<T>(name ?? "", asked, abort)): Asked<T> {
  const key = name === null ? null : JSON.stringify([name, query])
  const [state, setState] = useState<Asked<T> & { key: string | null }>({ key: null, value: null, failure: null, pending: true })
  useEffect(() => {
    if (key === null) return
    const abort = new AbortController()
    const look = async () => {
      if (document.visibilityState === "hidden") return
      try {
        const value = await ask(query, abort.signal)
        setState({ key, value, failure: null, pending: false })
      } catch (error) {
        if (isAbort(error) || abort.signal.aborted) return
        if (isCluster.value && !(error instanceof Refused)) noteFailure(error)
        const failure = error instanceof Error ? error.message : String(error)
        setState((before) => ({ key, value: before.key === key ? before.value : null, failure, pending: false }))
      }
    }
    void look()
    const timer = setInterval(look, AGAIN)
    return () => {
      clearInterval(timer)
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
