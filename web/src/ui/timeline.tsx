import { scaleTime } from "d3-scale"
import { useState } from "preact/hooks"
import { language, messages } from "../i18n/index.ts"
import { duration, full, tick } from "../lib/format.ts"
import { lanes, stepped, type Group } from "../lib/lanes.ts"
import { linkTo } from "../lib/route.ts"
import { visible } from "../lib/text.ts"
import { route } from "../state.ts"
import type { Span } from "../types.ts"
import { useWidth } from "./hooks.ts"
import { tipOf } from "./tooltip.tsx"

const LANE = 18
const GROUP_GAP = 6
const AXIS = 22
/** Colours that there are for users: neighbours have different ones. */
const COLORS = 8

interface Props {
  spans: Span[]
  since: number
  until: number
  /** What the bars are grouped by: the users of a device, or the devices of a user. */
  by: "user" | "gpu"
  notes: string[]
}

/** Sessions as bars over time. */
export function TimelineChart({ spans, since, until, by, notes }: Props) {
  const m = messages.value
  const lang = language.value
  const [measure, width] = useWidth()
  const groups = lanes(spans, (span) => (by === "user" ? span.user : span.gpu))
  const left = width < 500 ? 72 : 130
  const scale = scaleTime([new Date(since * 1000), new Date(until * 1000)], [left, Math.max(left + 10, width - 8)])
  const x = (at: number) => scale(new Date(Math.min(until, Math.max(since, at)) * 1000))
  const ticks = scale.ticks(Math.max(2, Math.floor(width / 110)))
  const shown = groups.flatMap((group) => group.lanes.flatMap((lane) => lane.spans.map(keyOf)))
  const [chosen, choose] = useState<string | null>(null)
  const stop = chosen !== null && shown.includes(chosen) ? chosen : (shown[0] ?? null)
  const height = AXIS + groups.reduce((sum, group) => sum + group.lanes.length * LANE + GROUP_GAP, 0)
  return (
    <div class="timeline" ref={measure}>
      {spans.length === 0 ? <p class="empty">{m.nothing}</p> : (
        <div class="timeline-scroll" tabIndex={0} role="region" aria-label={m.timelineLabel(spans.length, full(lang, since), full(lang, until))}>
          <svg width={width} height={height} role="group" onKeyDown={step} onFocusIn={(event) => choose((event.target as Element).getAttribute("data-key") ?? chosen)}>
            {ticks.map((date) => (
              <g key={+date} class="mark">
                <line x1={scale(date)} x2={scale(date)} y1={AXIS - 4} y2={height} />
                <text x={scale(date)} y={12} text-anchor="middle">{tick(lang, +date / 1000)}</text>
              </g>
            ))}
            <Groups groups={groups} by={by} stop={stop} x={x} left={left} width={width} />
          </svg>
        </div>
      )}
      {notes.map((note) => <p key={note} class="muted small">{note}</p>)}
    </div>
  )
}

const keyOf = (span: Span) => `${span.session} ${span.gpu}`

/** Moves among the bars by arrow keys: they are one stop of the Tab key, for there may be thousands. */
function step(event: KeyboardEvent & { currentTarget: Element }): void {
  const bars = [...event.currentTarget.querySelectorAll<SVGAElement>("a")]
  const to = stepped(event.key, bars.findIndex((bar) => bar === document.activeElement), bars.length)
  if (to === null) return
  event.preventDefault()
  bars[to]?.focus()
}

function Groups({ groups, by, stop, x, left, width }: { groups: Group<Span>[]; by: "user" | "gpu"; stop: string | null; x: (at: number) => number; left: number; width: number }) {
  const m = messages.value
  let y = AXIS
  return groups.map((group, index) => {
    const top = y
    y += group.lanes.length * LANE + GROUP_GAP
    const name = group.name === null ? m.unknown : visible(group.name)
    const room = Math.floor((left - 8) / 7)
    const color = by === "user" && group.name !== null ? index % COLORS : null
    return (
      <g key={group.name ?? "\u0000"}>
        <line class="rule" x1={0} x2={width} y1={top - GROUP_GAP / 2} y2={top - GROUP_GAP / 2} />
        <text class="lane-name" x={4} y={top + 13}><title>{name}</title>{name.length > room ? `${name.slice(0, room - 1)}…` : name}</text>
        {group.lanes.flatMap((lane, i) => lane.spans.map((span) => <Bar key={keyOf(span)} span={span} stop={keyOf(span) === stop} by={by} color={color} x={x} y={top + i * LANE} />))}
      </g>
    )
  })
}

function Bar({ span, stop, by, color, x, y }: { span: Span; stop: boolean; by: "user" | "gpu"; color: number | null; x: (at: number) => number; y: number }) {
  const m = messages.value
  const lang = language.value
  const begin = x(span.start_time)
  const size = Math.max(2, x(span.end_time) - begin)
  const command = span.command === null ? m.unknown : visible(span.command)
  const user = span.user === null ? m.unknown : visible(span.user)
  const title = `${command}${span.pid === null ? "" : ` (${span.pid})`}`
  const lines: [string, string][] = [
    [m.user, user],
    ["GPU", span.gpu],
    ...(span.pod === null ? [] : [[m.pod, visible(`${span.namespace ?? "?"}/${span.pod}`)] as [string, string]]),
    [m.began, full(lang, span.start_time)],
    [m.ended, span.ended ? full(lang, span.end_time) : m.stillRunning],
    [m.lasted, duration(m.units, span.end_time - span.start_time)],
  ]
  const label = `${title}: ${lines.map(([name, value]) => `${name} ${value}`).join(", ")}`
  const href = by === "user" ? linkTo(route.value, "user", { user: span.user ?? "" }) : linkTo(route.value, "device", { gpu: span.gpu })
  return (
    <a href={href} aria-label={label} tabindex={stop ? 0 : -1} data-key={keyOf(span)} {...tipOf(title, () => lines)}>
      <rect class={`bar ${color === null ? (by === "user" ? "nobody" : "plain") : `hue${color}`} ${span.ended ? "" : "open"}`} x={begin} y={y + 1} width={size} height={LANE - 3} rx={2} />
      {size > 60 && <text class="bar-text" x={begin + 5} y={y + 13}>{command.slice(0, Math.floor((size - 10) / 6.6))}</text>}
    </a>
  )
}
