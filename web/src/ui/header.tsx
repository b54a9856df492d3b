import { useEffect, useRef } from "preact/hooks"
import { cluster } from "../data/cluster.ts"
import { devices, view } from "../data/node.ts"
import { LANGUAGES, language, messages, speak, type Language } from "../i18n/index.ts"
import { isPart, useOf } from "../lib/devices.ts"
import { clock, count, counted, duration, full } from "../lib/format.ts"
import { linkTo, type View } from "../lib/route.ts"
import { visible } from "../lib/text.ts"
import { about, age, change, freshness, isCluster, paint, route, stale, theme, type Theme } from "../state.ts"
import type { Device } from "../types.ts"
import { PeriodField } from "./period.tsx"

export function Header() {
  return (
    <header class="top">
      <div class="top-line">
        <Scope />
        <Totals />
        <Fresh />
        <div class="top-controls"><ThemeField /><LanguageField /></div>
      </div>
      <div class="top-line second">
        <Tabs />
        <div class="top-controls"><PeriodField /><Search /></div>
      </div>
    </header>
  )
}

function Scope() {
  const m = messages.value
  const name = isCluster.value ? m.cluster : visible(about.value?.node ?? m.unnamedNode)
  return (
    <a class="scope" href="#/overview">
      <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true"><rect x="1" y="1" width="18" height="18" rx="4" /><path d="M5 14V9M10 14V5M15 14v-3" /></svg>
      <span class="scope-name name" title={name}>{about.value ? name : m.title}</span>
    </a>
  )
}

function Totals() {
  const m = messages.value
  const lang = language.value
  const total = isCluster.value ? ofCluster() : ofNode()
  if (!total) return <div class="totals" />
  const { nodes, old, incomplete, inUse, all, held, sessions, users, least } = total
  const n = (value: number | null) => (value === null ? "–" : count(lang, value))
  const known = (value: number | null) => (value === null ? "–" : counted(lang, value, least))
  return (
    <ul class="totals">
      {nodes !== null && <li><b>{n(nodes)}</b> {m.nodes}{old ? <a class="badge warn" href={linkTo(route.value, "overview", { state: "old" })} title={m.oldTitle}>{n(old)} {m.old}</a> : null}{incomplete ? <a class="badge warn" href={linkTo(route.value, "overview", { state: "incomplete" })}>{n(incomplete)} {m.incomplete}</a> : null}</li>}
      <li><b>{known(inUse)}</b><span class="muted">/{total.allLeast ? known(all) : n(all)}</span> {m.devices} {m.inUse}</li>
      <li class={held ? "warn-text" : ""} title={m.heldIdleTitle}><b>{known(held)}</b> {m.heldIdle}</li>
      <li><b>{known(sessions)}</b> {m.sessions}</li>
      <li><b>{known(users)}</b> {m.users}</li>
    </ul>
  )
}

function ofCluster() {
  const all = cluster.value
  if (!all) return null
  return {
    nodes: all.nodes as number | null, old: all.nodes_old, incomplete: all.nodes_incomplete, inUse: all.devices_in_use as number | null, all: all.devices,
    held: all.devices_held_idle as number | null, sessions: all.sessions as number | null, users: all.users as number | null,
    least: isPart(all), allLeast: (all.nodes_unknown ?? 0) > 0,
  }
}

function ofNode() {
  if (!view.value) return null
  const list = devices.value
  const sum = (values: (number | null)[]) => (values.some((value) => value === null) ? null : values.reduce((all: number, value) => all + (value ?? 0), 0))
  const known = list.every((device) => device.users !== null)
  return {
    nodes: null, old: 0, incomplete: 0, all: list.length,
    inUse: list.some((device) => device.sessions === null) ? null : list.filter((device) => (device.sessions ?? 0) > 0).length,
    held: heldOf(list),
    sessions: sum(list.map((device) => device.sessions)),
    least: false, allLeast: false,
    users: known ? new Set(list.flatMap((device) => (device.users ?? []).map(({ user }) => user))).size : null,
  }
}

/** Devices known to be held idle; none is only said where it is known of each. */
function heldOf(list: Device[]): number | null {
  const held = list.filter((device) => useOf(device) === "held").length
  return held === 0 && list.some((device) => device.allocations === null) ? null : held
}

/** When the data is of, and how long ago that is. */
function Fresh() {
  const m = messages.value
  const { timestamp, link } = freshness.value
  if (timestamp === null) return <span class="fresh">{link === "away" ? m.away : m.connecting}</span>
  return (
    <span class={`fresh ${stale.value ? "stale" : ""}`} title={full(language.value, timestamp)}>
      <span class="dot" aria-hidden="true" />
      {m.asOf(clock(language.value, timestamp))}, {m.ago(duration(m.units, age.value))}
    </span>
  )
}

const TABS: View[] = ["overview", "sessions", "users", "idle"]

function Tabs() {
  const m = messages.value
  const names: Partial<Record<View, string>> = { overview: m.overview, sessions: m.sessions, users: m.users, idle: m.idle }
  const { view: current, params } = route.value
  const search = params.search === undefined ? {} : { search: params.search }
  const tabs = useRef<HTMLElement>(null)
  useEffect(() => tabs.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }), [current])
  return (
    <nav class="tabs" aria-label={m.views} ref={tabs}>
      {TABS.map((name) => (
        <a key={name} href={linkTo(route.value, name, search)} aria-current={current === name ? "page" : undefined}>{names[name]}</a>
      ))}
      {current === "device" && <a href={location.hash} aria-current="page">{m.device} {params.gpu !== undefined && visible(params.gpu)}</a>}
      {current === "user" && <a class="name" href={location.hash} aria-current="page">{params.user ? visible(params.user) : m.noUser}</a>}
    </nav>
  )
}

/** Milliseconds without a key before a server is asked. */
const PAUSE = 150

function Search() {
  const m = messages.value
  const field = useRef<HTMLInputElement>(null)
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const text = route.value.params.search ?? ""
  useEffect(() => {
    const focus = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || target.matches("input, select, textarea")) return
      event.preventDefault()
      field.current?.focus()
      field.current?.select()
    }
    addEventListener("keydown", focus)
    return () => removeEventListener("keydown", focus)
  }, [])
  useEffect(() => {
    if (field.current && document.activeElement !== field.current) field.current.value = text
  }, [text])
  const input = () => {
    clearTimeout(timer.current)
    const search = () => change({ search: field.current?.value || undefined })
    timer.current = setTimeout(search, isCluster.value ? PAUSE : 0)
  }
  return (
    <label class="search">
      <span class="hidden">{m.search}</span>
      <input ref={field} type="search" placeholder={m.searchHint} defaultValue={text} onInput={input} maxLength={200} spellcheck={false} autocomplete="off" />
    </label>
  )
}

function ThemeField() {
  const m = messages.value
  const names: Record<Theme, string> = { auto: m.themeAuto, light: m.themeLight, dark: m.themeDark }
  return (
    <label class="field">
      <span class="hidden">{m.theme}</span>
      <select value={theme.value} title={m.theme} onChange={(event) => paint(event.currentTarget.value as Theme)}>
        {(Object.keys(names) as Theme[]).map((name) => <option key={name} value={name}>{names[name]}</option>)}
      </select>
    </label>
  )
}

function LanguageField() {
  const m = messages.value
  return (
    <label class="field">
      <span class="hidden">{m.language}</span>
      <select value={language.value} title={m.language} onChange={(event) => speak(event.currentTarget.value as Language)}>
        {(Object.keys(LANGUAGES) as Language[]).map((name) => <option key={name} value={name} lang={name}>{LANGUAGES[name]}</option>)}
      </select>
    </label>
  )
}
