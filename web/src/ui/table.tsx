import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core"
import type { ComponentChildren } from "preact"
import { useLayoutEffect, useReducer, useRef, useState } from "preact/hooks"
import type { Rows } from "../data/rows.ts"
import { language, messages } from "../i18n/index.ts"
import { csv } from "../lib/csv.ts"
import { count, full } from "../lib/format.ts"
import { visible } from "../lib/text.ts"
import { change } from "../state.ts"
import { fitting, widthsOf, type Column } from "./columns.ts"
import { useWidth } from "./hooks.ts"

export type { Column }

const ROW = 32
const OVERSCAN = 8

function useVirtual(total: number) {
  const scroll = useRef<HTMLDivElement>(null)
  const [, redraw] = useReducer((n: number, _: void) => n + 1, 0)
  const options = {
    count: total,
    getScrollElement: () => scroll.current,
    estimateSize: () => ROW,
    overscan: OVERSCAN,
    observeElementRect,
    observeElementOffset,
    scrollToFn: elementScroll,
    onChange: () => redraw(),
  }
  const [virtual] = useState(() => new Virtualizer<HTMLDivElement, HTMLTableRowElement>(options))
  virtual.setOptions(options)
  useLayoutEffect(() => virtual._didMount(), [])
  useLayoutEffect(() => virtual._willUpdate())
  return { scroll, virtual }
}

export interface TableProps<T> {
  name: string
  columns: Column<T>[]
  rows: Rows<T>
  identify: (row: T) => string
  sort: string
  empty: string
  /** Said beside the count of rows. */
  aside?: ComponentChildren
}

function SortHead<T>({ column, sort }: { column: Column<T>; sort: string }) {
  const m = messages.value
  const [field, descending] = sort.startsWith("-") ? [sort.slice(1), true] : [sort, false]
  const own = column.sort ?? column.id
  const active = field === own
  const order = !active ? "none" : descending ? "descending" : "ascending"
  if (column.unsorted) return <th scope="col" class={column.number ? "number" : ""} title={column.title}>{column.name}</th>
  // Numbers are looked at from the largest.
  const next = active ? (descending ? own : `-${own}`) : column.number ? `-${own}` : own
  return (
    <th scope="col" aria-sort={order} class={column.number ? "number" : ""}>
      <button type="button" title={column.title ?? m.sortBy(column.name)} onClick={() => change({ sort: next })}>
        {column.name}<span class="sort-mark" aria-hidden="true">{active ? (descending ? "▼" : "▲") : ""}</span>
      </button>
    </th>
  )
}

/** A table of which only the rows that are seen are there. */
export function Table<T>({ name, columns, rows, identify, sort, empty, aside }: TableProps<T>) {
  const m = messages.value
  void rows.version.value
  const total = rows.total ?? 0
  const { scroll, virtual } = useVirtual(total)
  const [measure, width] = useWidth()
  const seen = fitting(columns, width || 1200)
  const items = virtual.getVirtualItems()
  const first = items[0]?.index ?? 0
  const last = items.at(-1)?.index ?? 0
  useLayoutEffect(() => rows.want(first, last + 1))
  const before = first * ROW
  const after = Math.max(0, (total - last - 1) * ROW)
  return (
    <div class={`table ${rows.waiting ? "waits" : ""}`} ref={measure} aria-busy={rows.waiting}>
      <div class="table-bar">
        <span class="row-count" role="status">{rows.waiting ? m.loading : rows.total === null ? (rows.failure === null ? m.loading : "") : m.rows(count(language.value, total), total)}</span>
        <Failure rows={rows} />
        {aside}
        <Download name={name} columns={columns} rows={rows} />
      </div>
      <div class="table-scroll" ref={scroll} tabIndex={0} role="region" aria-label={name}>
        <table aria-label={name} aria-rowcount={total + 1}>
          <colgroup>{widthsOf(seen, width).map((own, i) => <col key={seen[i]?.id} style={{ width: `${own}px` }} />)}</colgroup>
          <thead><tr aria-rowindex={1}>{seen.map((column) => <SortHead key={column.id} column={column} sort={sort} />)}</tr></thead>
          <tbody>
            {before > 0 && <tr class="space" aria-hidden="true"><td colSpan={seen.length} style={{ height: `${before}px` }} /></tr>}
            {items.map(({ index }) => <Row key={key(rows, index, identify)} row={rows.at(index)} index={index} columns={seen} />)}
            {after > 0 && total > 0 && <tr class="space" aria-hidden="true"><td colSpan={seen.length} style={{ height: `${after}px` }} /></tr>}
          </tbody>
        </table>
        {rows.total === 0 && <p class="empty">{empty}</p>}
      </div>
    </div>
  )
}

/** Why the rows are not newer, and of when they are. */
export function Failure<T>({ rows }: { rows: Rows<T> }) {
  void rows.version.value
  if (rows.failure === null) return null
  const since = rows.of === null ? "" : ` · ${messages.value.since(full(language.value, rows.of))}`
  return <span class="bad" role="alert">{visible(rows.failure)}{since}</span>
}

function key<T>(rows: Rows<T>, index: number, identify: (row: T) => string): string {
  const row = rows.at(index)
  return row ? identify(row) : `#${index}`
}

function Row<T>({ row, index, columns }: { row: T | undefined; index: number; columns: Column<T>[] }) {
  return (
    <tr aria-rowindex={index + 2} class={index % 2 ? "odd" : ""}>
      {columns.map((column) => (
        <td key={column.id} class={column.number ? "number" : ""}>{row ? column.render(row) : <span class="waiting">…</span>}</td>
      ))}
    </tr>
  )
}

function Download<T>({ name, columns, rows }: { name: string; columns: Column<T>[]; rows: Rows<T> }) {
  const m = messages.value
  void rows.version.value
  const [state, setState] = useState<"ready" | "busy" | "failed">("ready")
  const save = async () => {
    setState("busy")
    try {
      const all = await rows.all()
      const text = csv(columns.map((column) => column.id), all.map((row) => columns.map((column) => column.value(row))))
      offer(text, `${name}.csv`)
      setState("ready")
    } catch {
      setState("failed")
    }
  }
  return (
    <span class="download">
      {state === "failed" && <span class="bad" role="alert">{m.csvFailed}</span>}
      <button type="button" class="button" title={m.csvTitle} disabled={state === "busy" || rows.total === null || rows.waiting} onClick={save}>{m.csv}</button>
    </span>
  )
}

/** Lets the browser save a text. Spreadsheets take it for UTF-8 by its mark. */
function offer(text: string, name: string): void {
  const url = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }))
  const link = document.createElement("a")
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
