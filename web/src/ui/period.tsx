import { useState } from "preact/hooks"
import { messages } from "../i18n/index.ts"
import { fromLocal, moment, PRESETS, toLocal, USUAL } from "../lib/period.ts"
import { about, change, isCluster, route, serverNow } from "../state.ts"

/** Which period the view is of, where it is of one. */
export function PeriodField() {
  const m = messages.value
  const { view, params } = route.value
  const [open, setOpen] = useState(false)
  const ofNow = view === "sessions"
  const past = isCluster.value ? !ofNow : (about.value?.history ?? false)
  if (!past || view === "overview" || view === "idle") return null
  const { since, until } = params
  const preset = until === undefined ? (since ?? (ofNow ? "now" : USUAL)) : "custom"
  const known = preset === "now" || (PRESETS as readonly string[]).includes(preset)
  const choose = (value: string) => {
    setOpen(value === "custom")
    if (value !== "custom") change({ since: value === "now" ? undefined : value, until: undefined })
  }
  return (
    <div class="period">
      <label class="field">
        <span class="hidden">{m.period}</span>
        <select value={open || !known ? "custom" : preset} title={m.period} onChange={(event) => choose(event.currentTarget.value)}>
          {ofNow && <option value="now">{m.now}</option>}
          {PRESETS.map((value) => <option key={value} value={value}>{m.last(value)}</option>)}
          <option value="custom">{m.custom}</option>
        </select>
      </label>
      {(open || !known) && <Custom done={() => setOpen(false)} />}
    </div>
  )
}

function Custom({ done }: { done: () => void }) {
  const m = messages.value
  const now = serverNow.peek()
  const { since, until } = route.value.params
  const [from, setFrom] = useState(() => toLocal(moment(since ?? USUAL, now) ?? now - 86_400))
  const [to, setTo] = useState(() => toLocal(moment(until ?? "now", now) ?? now))
  const [bad, setBad] = useState(false)
  const apply = (event: Event) => {
    event.preventDefault()
    const begin = fromLocal(from)
    const end = fromLocal(to)
    if (begin === undefined || end === undefined || Date.parse(begin) >= Date.parse(end)) return setBad(true)
    setBad(false)
    change({ since: begin, until: end })
    done()
  }
  return (
    <form class="custom" onSubmit={apply}>
      <label class="field"><span>{m.from}</span><input type="datetime-local" value={from} required onInput={(event) => setFrom(event.currentTarget.value)} /></label>
      <label class="field"><span>{m.to}</span><input type="datetime-local" value={to} required onInput={(event) => setTo(event.currentTarget.value)} /></label>
      <button type="submit" class="button">{m.apply}</button>
      {bad && <span class="bad" role="alert">{m.badPeriod}</span>}
    </form>
  )
}
