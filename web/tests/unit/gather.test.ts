import assert from "node:assert/strict"
import { test } from "node:test"
import { gather } from "../../src/data/gather.ts"

/** A list in pages of two, of which a newer look is there after so many answers. */
function list(looks: number[][], after: number) {
  let asked = 0
  return async (offset: number) => {
    const look = Math.min(looks.length - 1, Math.floor(asked++ / after))
    const rows = looks[look] ?? []
    return { timestamp: look, total: rows.length, rows: rows.slice(offset, offset + 2) }
  }
}

test("all rows are of one look", async () => {
  assert.deepEqual(await gather(list([[1, 2, 3, 4, 5]], 100)), [1, 2, 3, 4, 5])
  assert.deepEqual(await gather(list([[1, 2, 3, 4], [0, 1, 2, 3]], 1)), [0, 1, 2, 3])
  assert.deepEqual(await gather(list([[]], 1)), [])
})

test("rows that change all the time, or are missing, are an error and no half of a file", async () => {
  const moving = Array.from({ length: 100 }, (_, i) => [i, i + 1, i + 2])
  await assert.rejects(gather(list(moving, 1)), /changed/)
  await assert.rejects(gather(async (offset) => ({ timestamp: 1, total: 4, rows: offset === 0 ? [1, 2] : [] })), /changed/)
})
