import assert from "node:assert/strict"
import { test } from "node:test"
import { arrived, elapsed } from "../../src/lib/clock.ts"

const at = (seconds: number) => ({ steady: seconds * 1000, wall: seconds * 1000 })

test("what passed while the machine slept has passed", () => {
  assert.equal(elapsed(at(10), { steady: 11_000, wall: 7_210_000 }), 7200)
  assert.equal(elapsed(at(10), { steady: 15_000, wall: 3_000 }), 5)
  assert.equal(elapsed(at(10), { steady: 9_000, wall: 9_000 }), 0)
})

test("a sample that is told of again is not younger", () => {
  const first = arrived({ timestamp: null, age: 0, received: at(0) }, { timestamp: 100 }, at(1))
  assert.deepEqual(first, { timestamp: 100, age: 0, received: at(1) })
  assert.deepEqual(arrived(first, { timestamp: 100 }, at(301)), first)
  assert.deepEqual(arrived(first, { timestamp: 105 }, at(6)), { timestamp: 105, age: 0, received: at(6) })
  // With the time of the server a page that was just opened knows too.
  assert.deepEqual(arrived(first, { timestamp: 100, now: 400 }, at(301)), { timestamp: 100, age: 300, received: at(301) })
  assert.equal(arrived(first, { timestamp: 100, now: 99 }, at(2)).age, 0)
})
