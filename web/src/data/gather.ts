// All rows of a list that is cut into pages, of one look: rows of two looks are not mixed.

export interface Piece<T> {
  timestamp: number
  total: number
  rows: T[]
}

const TRIES = 4

/** Asks page after page; begins anew where a newer look came between them, and gives up after some tries. */
export async function gather<T>(ask: (offset: number) => Promise<Piece<T>>): Promise<T[]> {
  for (let tries = 0; tries < TRIES; tries++) {
    const rows = await once(ask)
    if (rows) return rows
  }
  throw new Error("the rows changed while they were read")
}

/** Null where the pages are not of one look. */
async function once<T>(ask: (offset: number) => Promise<Piece<T>>): Promise<T[] | null> {
  const first = await ask(0)
  const rows = [...first.rows]
  while (rows.length < first.total) {
    const next = await ask(rows.length)
    if (next.timestamp !== first.timestamp || next.total !== first.total || next.rows.length === 0) return null
    rows.push(...next.rows)
  }
  return rows
}
