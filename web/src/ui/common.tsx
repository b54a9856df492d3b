import type { ComponentChildren } from "preact"
import { language, messages } from "../i18n/index.ts"
import { counted, decimal, duration, full, gib, percent, when } from "../lib/format.ts"
import { linkTo, type Parameters, type View } from "../lib/route.ts"
import { visible } from "../lib/text.ts"
import { isCluster, route, serverNow } from "../state.ts"

export function Unknown() {
  return <span class="unknown" title={messages.value.unknownTitle}>–</span>
}

/** A name that others gave. */
export function Name({ value }: { value: string | null | undefined }) {
  if (value === null || value === undefined || value === "") return <Unknown />
  const text = visible(value)
  return <span class="name" title={text}>{text}</span>
}

/** The value as it is written, or that it is not known. */
export function shown<T>(value: T | null | undefined, write: (value: T) => string): ComponentChildren {
  return value === null || value === undefined ? <Unknown /> : write(value)
}

/** `least`: there may be more than is known. */
export const asCount = (value: number | null | undefined, least = false) => shown(value, (v) => counted(language.value, v, least))
export const asPercent = (value: number | null | undefined) => shown(value, (v) => percent(language.value, v))
export const asGib = (value: number | null | undefined, least = false) => shown(value, (v) => `${least ? "≥" : ""}${gib(language.value, v)}`)
export const asDecimal = (value: number | null | undefined) => shown(value, (v) => decimal(language.value, v))
export const asDuration = (value: number | null | undefined) => shown(value, (v) => duration(messages.value.units, v))

export function Moment({ at, now }: { at: number | null; now?: number }) {
  if (at === null) return <Unknown />
  return <span title={full(language.value, at)}>{when(language.value, at, now ?? serverNow.peek())}</span>
}

/** A ratio with a bar. */
export function Meter({ ratio, kind = "sm" }: { ratio: number | null | undefined; kind?: "sm" | "memory" }) {
  if (ratio === null || ratio === undefined) return <Unknown />
  const width = `${Math.min(100, ratio * 100)}%`
  return (
    <span class="meter">
      <span class="meter-text">{percent(language.value, ratio)}</span>
      <span class={`meter-track ${kind}`} aria-hidden="true"><span class="meter-fill" style={{ width }} /></span>
    </span>
  )
}

export function Link({ view, params, class: name, children, title }: {
  view: View
  params: Parameters
  class?: string
  title?: string
  children: ComponentChildren
}) {
  return <a href={linkTo(route.value, view, params)} class={name} title={title}>{children}</a>
}

export function UserLink({ user }: { user: string | null }) {
  if (user === null) {
    return <Link view="user" params={{ user: "" }} class="unknown" title={messages.value.noUser}>–</Link>
  }
  return <Link view="user" params={{ user }}><Name value={user} /></Link>
}

export function DeviceLink({ node, gpu, note }: { node?: string | undefined; gpu: string; note?: string | null }) {
  const params: Parameters = isCluster.value && node !== undefined ? { node, gpu } : { gpu }
  const title = note ? `${gpu} · ${note}` : gpu
  return <Link view="device" params={params} title={title}><b>{gpu}</b>{note && <span class="note"> {note}</span>}</Link>
}

export function Note({ children, kind = "plain" }: { children: ComponentChildren; kind?: "plain" | "bad" }) {
  return <p class={`note-box ${kind}`}>{children}</p>
}

/** Why something may be missing, in the words of Prometheus. */
export function Warnings({ warnings = [] }: { warnings?: string[] | undefined }) {
  if (warnings.length === 0) return null
  return <Note><b>{messages.value.warnings}:</b> {visible(warnings.join("; "))}</Note>
}

/** Why an answer is not newer, and of when it is. */
export function OldAnswer({ asked: { value, failure } }: { asked: { value: { timestamp: number } | null; failure: string | null } }) {
  if (failure === null) return null
  return <Note kind="bad">{visible(failure)}{value && ` · ${messages.value.since(full(language.value, value.timestamp))}`}</Note>
}

export function Panel({ title, aside, children, class: name = "" }: {
  title: string
  aside?: ComponentChildren
  children: ComponentChildren
  class?: string
}) {
  return (
    <section class={`panel ${name}`} aria-label={title}>
      <header class="panel-head"><h2>{title}</h2>{aside && <div class="panel-aside">{aside}</div>}</header>
      {children}
    </section>
  )
}

/** A figure with its name. */
export function Figure({ name, title, children }: { name: string; title?: string; children: ComponentChildren }) {
  return (
    <div class="figure" title={title}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}
