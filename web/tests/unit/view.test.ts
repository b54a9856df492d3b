import assert from "node:assert/strict"
import { test } from "node:test"
import { backOff, Gatherer, tracked } from "../../src/data/view.ts"
import type { Device, Session } from "../../src/types.ts"

const session = (name: string) => ({ session: name, gpu: "0" }) as Session
const device = (uuid: string, utilization: number | null) =>
  ({ uuid, gpu: "0", utilization_ratio: utilization, memory_total_bytes: 100, memory_used_bytes: 25 }) as Device

test("nothing is shown before a sample is whole, and what was shown does not change", () => {
  const gatherer = new Gatherer()
  assert.equal(gatherer.take("session", session("a")), null)
  assert.equal(gatherer.take("device", device("G", 0.5)), null)
  const first = gatherer.take("sample", { timestamp: 1, sources: [] })
  assert.deepEqual([...(first?.sessions.keys() ?? [])], ["a"])
  gatherer.take("session_ended", { session: "a", gpu: "0" })
  gatherer.take("session", session("b"))
  assert.deepEqual([...(first?.sessions.keys() ?? [])], ["a"])
  const second = gatherer.take("sample", { timestamp: 2, sources: [] })
  assert.deepEqual([...(second?.sessions.keys() ?? [])], ["b"])
  gatherer.take("device_gone", { gpu: "0", uuid: "G" })
  assert.equal(gatherer.take("sample", { timestamp: 3, sources: [] })?.devices.size, 0)
})

test("an event that is not known changes nothing", () => {
  assert.equal(new Gatherer().take("other", {}), null)
})

test("a track has a value for each sample, and none twice; a gap stays a gap", () => {
  const view = (timestamp: number, utilization: number | null) => ({ timestamp, sources: [], sessions: new Map(), devices: new Map([["G", device("G", utilization)]]) })
  const first = tracked(new Map(), view(1, 0.5))
  const second = tracked(first, view(2, null))
  const again = tracked(second, view(2, 0.7))
  assert.deepEqual(again.get("G"), { times: [1, 2], utilization: [0.5, null], memory: [0.25, 0.25] })
  assert.equal(tracked(again, { ...view(3, 1), devices: new Map() }).size, 0)
})

test("where nobody listened a track has a hole", () => {
  const view = (timestamp: number) => ({ timestamp, sources: [], sessions: new Map(), devices: new Map([["G", device("G", 0.5)]]) })
  const after = tracked(tracked(new Map(), view(10)), view(110), true).get("G")
  assert.deepEqual(after, { times: [10, 60, 110], utilization: [0.5, null, 0.5], memory: [0.25, null, 0.25] })
  assert.deepEqual(tracked(new Map(), view(10), true).get("G")?.times, [10])
})

test("tries are ever rarer, up to half a minute", () => {
  assert.equal(backOff(1, 0.5), 1000)
  assert.equal(backOff(3, 0.5), 4000)
  assert.equal(backOff(50, 0.5), 30_000)
  assert.ok(backOff(2, 0) < backOff(2, 1))
})
