import assert from "node:assert/strict"
import { test } from "node:test"
import { lateAfter } from "../../src/lib/clock.ts"
import { isPart, unsure } from "../../src/lib/devices.ts"
import { idleSeconds, keyOf } from "../../src/lib/durations.ts"
import { stepped } from "../../src/lib/lanes.ts"
import type { Cluster, Device, Session } from "../../src/types.ts"

const view = (up: boolean) => ({ sources: [{ source: "nvml", up, duration_seconds: 0, errors: [] }] })
const known = { users: [], unattributed: [] } as unknown as Device

test("where a device or the driver is not known, a user may have more", () => {
  assert.ok(unsure(null, []))
  assert.ok(unsure(view(false), []))
  assert.ok(!unsure(view(true), []))
  assert.ok(!unsure(view(true), [known]))
  assert.ok(unsure(view(true), [known, { ...known, users: null }]))
  assert.ok(!isPart(null) && !isPart({ nodes_unknown: 0, devices_unknown: 0 } as Cluster))
  assert.ok(isPart({ nodes_unknown: 1 } as Cluster) && isPart({ devices_unknown: 2 } as Cluster))
})

test("a session is sorted by the time that is shown", () => {
  const session = { start_time: 40, measured_since_time: 50, last_active_time: 70 } as Session
  assert.equal(keyOf(session, "running_seconds", 100), 60)
  assert.equal(keyOf(session, "idle_seconds", 100), 30)
  assert.equal(keyOf(session, "start_time", 100), 40)
  assert.equal(idleSeconds({ ...session, measured_since_time: null }, 100), null)
  // A cluster has it from Prometheus, and the times it is worked out of are not there.
  assert.equal(idleSeconds({ ...session, measured_since_time: null, idle_seconds: 12 }, 100), 12)
  assert.equal(idleSeconds({ ...session, idle_seconds: null }, 100), null)
})

test("a server that looks rarely is not late for it", () => {
  assert.deepEqual([undefined, 5, 60, 300].map(lateAfter), [60, 60, 180, 900])
})

test("arrow keys go from bar to bar, and stay at the ends", () => {
  assert.deepEqual(["Home", "End", "ArrowLeft", "ArrowDown"].map((key) => stepped(key, 1, 3)), [0, 2, 0, 2])
  assert.deepEqual([stepped("ArrowUp", 0, 3), stepped("ArrowRight", 2, 3), stepped("Tab", 1, 3), stepped("End", -1, 3)], [0, 2, null, null])
})
