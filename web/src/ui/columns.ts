// Columns of a table, and which of them have room.

import type { ComponentChildren } from "preact"
import type { Cell } from "../lib/csv.ts"

export interface Column<T> {
  /** Name of the field: what the head of the CSV says, and `sort`. */
  id: string
  /** What `sort` says, where it is not the id. */
  sort?: string
  name: string
  title?: string
  /** What a file has of it. */
  value: (row: T) => Cell
  render: (row: T) => ComponentChildren
  /** Least width, in pixels; what is left over is shared by it. */
  width: number
  number?: boolean
  fixed?: boolean
  unsorted?: boolean
  /** The higher, the sooner it goes where there is no room. 0 stays. */
  rank: number
}

/** Columns that have room, the least wanted left out first. */
export function fitting<T>(columns: Column<T>[], width: number): Column<T>[] {
  const left = [...columns]
  while (left.reduce((sum, column) => sum + column.width, 0) > width) {
    const rank = Math.max(...left.map((column) => column.rank))
    if (rank === 0) break
    left.splice(left.findLastIndex((column) => column.rank === rank), 1)
  }
  return left
}

/** Widths in pixels: what is left over is shared by the columns that are not fixed. */
export function widthsOf<T>(columns: Column<T>[], width: number): number[] {
  const sum = columns.reduce((all, column) => all + column.width, 0)
  const open = columns.reduce((all, column) => all + (column.fixed ? 0 : column.width), 0)
  const spare = Math.max(0, width - sum)
  return columns.map((column) => (column.fixed ? column.width : column.width + (spare * column.width) / open))
}
