// Order of rows: what is unknown comes last in both directions, ties by the keys given after.

export type Key = string | number | boolean | null | undefined

const names = new Intl.Collator("en", { numeric: true, sensitivity: "variant" })

export function compareKeys(a: Key, b: Key): number {
  if (typeof a === "string" && typeof b === "string") return names.compare(a, b)
  return Number(a) - Number(b)
}

/** Rows in the order of a key; `sort` is its name, with `-` before it for descending. */
export function ordered<T>(rows: readonly T[], descending: boolean, key: (row: T) => Key, ties: ((row: T) => Key)[]): T[] {
  const keyed = rows.map((row) => ({ row, key: key(row) ?? null, ties: ties.map((tie) => tie(row) ?? null) }))
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) {
      if (a.key !== b.key) return a.key === null ? 1 : -1
    } else {
      const order = compareKeys(a.key, b.key)
      if (order !== 0) return descending ? -order : order
    }
    for (let i = 0; i < a.ties.length; i++) {
      const order = compareKeys(a.ties[i], b.ties[i])
      if (order !== 0) return order
    }
    return 0
  })
  return keyed.map(({ row }) => row)
}
