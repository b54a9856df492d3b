// Numbers, sizes and times in the reader's language. `null` is unknown: each function is given a value.

const formats = new Map<string, Intl.NumberFormat>()

function numbers(lang: string, digits: number): Intl.NumberFormat {
  const key = `${lang} ${digits}`
  let format = formats.get(key)
  if (!format) formats.set(key, (format = new Intl.NumberFormat(lang, { maximumFractionDigits: digits })))
  return format
}

export const count = (lang: string, value: number): string => numbers(lang, 0).format(value)

/** A count that may be of a part only. */
export const counted = (lang: string, value: number, least: boolean): string => `${least ? "≥" : ""}${count(lang, value)}`

/** A number with so many digits as it is worth: 0.04, 3.2, 140. */
export function decimal(lang: string, value: number): string {
  const size = Math.abs(value)
  return numbers(lang, size >= 100 ? 0 : size >= 10 ? 1 : 2).format(value)
}

/** A ratio as a percentage. What is not nothing is not shown as 0. */
export function percent(lang: string, ratio: number): string {
  const value = ratio * 100
  if (value > 0 && value < 0.5) return "<1%"
  return `${count(lang, value)}%`
}

export function gib(lang: string, bytes: number): string {
  const value = bytes / 2 ** 30
  if (value > 0 && value < 0.1) return `${count(lang, Math.ceil(bytes / 2 ** 20))} MiB`
  return `${numbers(lang, value >= 100 ? 0 : 1).format(value)} GiB`
}

export interface DurationUnits {
  day: string
  hour: string
  minute: string
  second: string
}

/** A duration by its two largest units. */
export function duration(units: DurationUnits, seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), units.day],
    [Math.floor(whole / 3600) % 24, units.hour],
    [Math.floor(whole / 60) % 60, units.minute],
    [whole % 60, units.second],
  ]
  const first = parts.findIndex(([value]) => value > 0)
  if (first < 0) return `0${units.second}`
  return parts
    .slice(first, first + 2)
    .filter(([value], i) => i === 0 || value > 0)
    .map(([value, unit]) => `${value}${unit}`)
    .join(" ")
}

const moments = new Map<string, Intl.DateTimeFormat>()

function moment(lang: string, key: string, options: Intl.DateTimeFormatOptions, at: number): string {
  const name = `${lang} ${key}`
  let format = moments.get(name)
  if (!format) moments.set(name, (format = new Intl.DateTimeFormat(lang, options)))
  return format.format(at * 1000)
}

const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const

/** The time of the day, to the second. */
export const clock = (lang: string, at: number): string => moment(lang, "clock", { ...CLOCK, second: "2-digit" }, at)

/** Date and time to the second, with the zone: for titles. */
export const full = (lang: string, at: number): string =>
  moment(lang, "full", { ...CLOCK, second: "2-digit", year: "numeric", month: "short", day: "numeric", timeZoneName: "short" }, at)

/** The time of the day where it is of the same day as `now`, else with the date. */
export function when(lang: string, at: number, now: number): string {
  const same = new Date(at * 1000).toDateString() === new Date(now * 1000).toDateString()
  return same ? clock(lang, at) : moment(lang, "when", { ...CLOCK, month: "short", day: "numeric" }, at)
}

/** A mark on an axis. */
export function tick(lang: string, at: number): string {
  const date = new Date(at * 1000)
  if (date.getHours() === 0 && date.getMinutes() === 0) return moment(lang, "day", { month: "short", day: "numeric" }, at)
  return moment(lang, date.getSeconds() ? "clock" : "minute", date.getSeconds() ? { ...CLOCK, second: "2-digit" } : CLOCK, at)
}
