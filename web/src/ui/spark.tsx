import { language, messages } from "../i18n/index.ts"
import { percent } from "../lib/format.ts"

const WIDTH = 160
const HEIGHT = 28

/** A line of the last ratios; where one is unknown there is a gap. */
export function Spark({ values, label }: { values: (number | null)[]; label: string }) {
  const m = messages.value
  const seen = values.slice(-120)
  const known = seen.filter((value): value is number => value !== null)
  const last = seen.at(-1)
  const write = (value: number | null | undefined) => (value === null || value === undefined ? m.unknown : percent(language.value, value))
  const said = m.chartLabel(label, write(last), write(known.length ? Math.min(...known) : null), write(known.length ? Math.max(...known) : null))
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${m.sinceOpened}. ${said}`}>
      <path d={pathOf(seen)} vector-effect="non-scaling-stroke" />
    </svg>
  )
}

function pathOf(values: (number | null)[]): string {
  const step = WIDTH / Math.max(1, values.length - 1)
  let path = ""
  let down = false
  values.forEach((value, i) => {
    if (value === null) {
      down = false
      return
    }
    const y = HEIGHT - 1 - Math.min(1, value) * (HEIGHT - 2)
    path += `${down ? "L" : "M"}${(i * step).toFixed(1)} ${y.toFixed(1)}`
    down = true
  })
  return path
}
