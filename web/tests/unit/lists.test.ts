import assert from "node:assert/strict"
import { test } from "node:test"
import { ordered } from "../../src/lib/compare.ts"
import { gpus, inUse, isWanted, onGpu, stepOf, useOf } from "../../src/lib/devices.ts"
import { lanes } from "../../src/lib/lanes.ts"
import { matches, visible } from "../../src/lib/text.ts"
import { fitting, type Column } from "../../src/ui/columns.ts"
import { counted } from "../../src/lib/format.ts"
import type { Device } from "../../src/types.ts"

const device = (gpu: string, more: Partial<Device> = {}) => ({ gpu, sessions: 0, allocations: 0, held_idle: 0, ...more }) as Device

test("what is unknown comes last in both directions, and ties by the next key", () => {
  const rows = [{ n: null, id: 1 }, { n: 2, id: 4 }, { n: 2, id: 3 }, { n: 10, id: 2 }]
  const ids = (descending: boolean) => ordered(rows, descending, (row) => row.n, [(row) => row.id]).map(({ id }) => id)
  assert.deepEqual(ids(false), [3, 4, 2, 1])
  assert.deepEqual(ids(true), [2, 3, 4, 1])
})

test("labels are ordered by their numbers", () => {
  assert.deepEqual(gpus([device("10"), device("2"), device("0_10_0"), device("0_1_0")]).map(({ index, instances }) => [index, instances.map(({ gpu }) => gpu)]), [
    ["0", ["0_1_0", "0_10_0"]], ["2", []], ["10", []],
  ])
})

test("unknown is neither free nor busy", () => {
  assert.equal(useOf(device("0", { sessions: null, held_idle: null })), "unknown")
  assert.equal(useOf(device("0")), "free")
  assert.equal(useOf(device("0", { sessions: 2, allocations: 1 })), "busy")
  assert.equal(useOf(device("0", { allocations: 1, held_idle: null })), "held")
  assert.equal(useOf(device("0", { sessions: 1, held_idle: 1 })), "held")
  assert.deepEqual([null, 0, 0.01, 0.2, 0.99, 1].map(stepOf), [null, 0, 1, 2, 5, 5])
})

test("every word has to be found", () => {
  assert.ok(matches("ALICE vis", ["alice", null, "team-vision"]))
  assert.ok(!matches("alice nlp", ["alice", "team-vision"]))
  assert.ok(matches("  ", []))
})

test("what cannot be seen is written out", () => {
  assert.equal(visible("a\u202eb\u0007c\u200b"), "a\\u{202e}b\\u{7}c\\u{200b}")
  assert.equal(visible("<img src=x>"), "<img src=x>")
  assert.equal(visible("김민수"), "김민수")
})

test("sessions that overlap lie in lanes of their own", () => {
  const span = (user: string | null, start_time: number, end_time: number) => ({ user, start_time, end_time })
  const found = lanes([span("a", 0, 10), span("a", 5, 15), span("a", 10, 20), span(null, 1, 2)], ({ user }) => user)
  assert.deepEqual(found.map(({ name, lanes }) => [name, lanes.map(({ spans }) => spans.length)]), [["a", [2, 1]], [null, [1]]])
})

test("columns go by their rank where there is no room, and the first stay", () => {
  const columns = [0, 2, 1].map((rank) => ({ id: String(rank), rank, width: 100 })) as Column<unknown>[]
  assert.deepEqual(fitting(columns, 250).map(({ id }) => id), ["0", "1"])
  assert.deepEqual(fitting(columns, 10).map(({ id }) => id), ["0"])
})

test("devices in use are those with a session, whoever else holds them; what is unknown is no 0", () => {
  assert.deepEqual(inUse([device("0", { sessions: 1, held_idle: 1 }), device("1")]), { count: 1, least: false })
  assert.deepEqual(inUse([device("0", { sessions: 1 }), device("1", { sessions: null })]), { count: 1, least: true })
  assert.deepEqual(inUse([device("0"), device("1", { sessions: null })]), { count: null, least: true })
  assert.deepEqual(inUse([device("0")]), { count: 0, least: false })
  assert.equal(inUse([]).count, null)
  assert.equal(counted("en", 1200, true), "≥1,200")
})

test("a filter takes the instances of a GPU, and an empty one what is not known", () => {
  assert.deepEqual(["1", "1_5_0", "11"].map((label) => onGpu("1", label)), [true, true, false])
  assert.ok(onGpu(undefined, "3"))
  assert.ok(isWanted("", null) && !isWanted("", "a") && !isWanted("a", "b") && isWanted(undefined, null))
})
