import { useLayoutEffect, useRef } from "preact/hooks"
import uPlot from "uplot"
import { language, messages } from "../i18n/index.ts"
import { clock, tick, when } from "../lib/format.ts"
import { isDark } from "../state.ts"
import { useWidth } from "./hooks.ts"

export interface Series {
  name: string
  values: (number | null)[]
  /** Name of a colour of the style sheet. */
  color: string
}

interface Props {
  label: string
  times: number[]
  series: Series[]
  write: (value: number) => string
  /** Where the axis ends at the least. */
  top?: number
  height?: number
}

/** Values over time, with the value at the pointer below. */
export function Chart({ label, times, series, write, top, height = 170 }: Props) {
  const host = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const [measure, width] = useWidth()
  const m = messages.value
  const lang = language.value
  const dark = isDark.value
  const shape = JSON.stringify([series.map(({ name, color }) => [name, color]), lang, dark, top, height])
  const data: uPlot.AlignedData = [times, ...series.map(({ values }) => values)]
  useLayoutEffect(() => {
    if (!host.current || width === 0) return
    const made = new uPlot(optionsOf(series, lang, write, top, width, height), data, host.current)
    plot.current = made
    return () => {
      made.destroy()
      plot.current = null
    }
  }, [shape, width > 0])
  useLayoutEffect(() => plot.current?.setSize({ width: Math.max(80, width), height }), [width])
  useLayoutEffect(() => plot.current?.setData(data), [times, series])
  const said = series.map(({ name, values }) => {
    const known = values.filter((value): value is number => value !== null)
    const or = (value: number | undefined | null) => (value === undefined || value === null ? m.unknown : write(value))
    return m.chartLabel(name, or(values.at(-1)), or(known.length ? Math.min(...known) : null), or(known.length ? Math.max(...known) : null))
  })
  return (
    <div class="chart" ref={measure} role="img" aria-label={`${label}. ${said.join("; ")}`}>
      <div ref={host} />
    </div>
  )
}

/** Seconds between marks. */
const STEPS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000, 864_000]

function optionsOf(series: Series[], lang: string, write: (value: number) => string, top: number | undefined, width: number, height: number): uPlot.Options {
  const style = getComputedStyle(document.documentElement)
  const color = (name: string) => style.getPropertyValue(`--${name}`).trim()
  const axis = { stroke: color("muted"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line"), width: 1 }, font: "11px system-ui, sans-serif" }
  return {
    width: Math.max(80, width),
    height,
    legend: { live: true },
    cursor: { y: false },
    scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(top ?? 1, high ?? 0) * 1.02] } },
    axes: [
      { ...axis, size: 30, space: 90, incrs: STEPS, values: (_, splits) => splits.map((at) => tick(lang, at)) },
      { ...axis, size: 54, values: (_, splits) => splits.map(write) },
    ],
    series: [
      { label: messages.peek().time, value: (_, at) => (at === null || at === undefined ? "–" : width > 500 ? when(lang, at, Date.now() / 1000) : clock(lang, at)) },
      ...series.map(({ name, color: own }) => ({
        label: name,
        stroke: color(own),
        width: 1.5,
        fill: series.length === 1 ? `${color(own)}22` : "transparent",
        spanGaps: false,
        points: { show: false },
        value: (_: uPlot, value: number | null) => (value === null ? "–" : write(value)),
      })),
    ],
  }
}
