// Where the page is, as its fragment says: #/sessions?user=alice&sort=-sm_utilization_ratio.

export const VIEWS = ["overview", "sessions", "users", "idle", "device", "user"] as const
export type View = (typeof VIEWS)[number]

/** What a fragment may say; everything else in it is dropped. */
export const PARAMETERS = [
  "search", "sort", "since", "until", "node", "gpu", "user", "namespace", "pod", "idle_for", "state", "density",
] as const
export type Parameter = (typeof PARAMETERS)[number]
export type Parameters = Partial<Record<Parameter, string>>

export interface Route {
  view: View
  params: Parameters
}

export function parseRoute(fragment: string): Route {
  const [path = "", query = ""] = fragment.replace(/^#?\/?/, "").split(/\?(.*)/s)
  const view = VIEWS.find((name) => name === path) ?? "overview"
  const params: Parameters = {}
  const asked = new URLSearchParams(query)
  for (const name of PARAMETERS) {
    const value = asked.get(name)
    if (value !== null) params[name] = value
  }
  return { view, params }
}

export function formatRoute(route: Route): string {
  const query = new URLSearchParams()
  for (const name of PARAMETERS) {
    const value = route.params[name]
    if (value !== undefined) query.set(name, value)
  }
  const text = query.toString()
  return `#/${route.view}${text && `?${text}`}`
}

/** The fragment of a view; the period goes along, for it is asked for once. */
export function linkTo(from: Route, view: View, params: Parameters): string {
  const { since, until } = from.params
  const period: Parameters = {}
  if (since !== undefined) period.since = since
  if (until !== undefined) period.until = until
  return formatRoute({ view, params: { ...period, ...params } })
}
