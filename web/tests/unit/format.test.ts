import assert from "node:assert/strict"
import { test } from "node:test"
import { count, decimal, duration, gib, percent, tick, when } from "../../src/lib/format.ts"

const units = { day: "d", hour: "h", minute: "m", second: "s" }

test("what is not nothing is not shown as 0", () => {
  assert.equal(percent("en", 0), "0%")
  assert.equal(percent("en", 0.001), "<1%")
  assert.equal(percent("en", 0.876), "88%")
  assert.equal(gib("en", 1), "1 MiB")
  assert.equal(gib("en", 0), "0 GiB")
  assert.equal(gib("en", 14.5 * 2 ** 30), "14.5 GiB")
})

test("numbers are written as the language does", () => {
  assert.equal(count("en", 12345), "12,345")
  assert.equal(decimal("en", 0.0449), "0.04")
  assert.equal(decimal("en", 12.34), "12.3")
  assert.equal(decimal("en", 1234.5), "1,235")
})

test("a duration has its two largest units", () => {
  assert.equal(duration(units, 0.4), "0s")
  assert.equal(duration(units, 59.9), "59s")
  assert.equal(duration(units, 3600), "1h")
  assert.equal(duration(units, 3661), "1h 1m")
  assert.equal(duration(units, 3 * 86_400 + 7200 + 60), "3d 2h")
  assert.equal(duration(units, -5), "0s")
})

test("a time of another day has its date", () => {
  const noon = new Date(2026, 10, 28, 12, 3, 5).getTime() / 1000
  assert.equal(when("en", noon, noon + 60), "12:03:05")
  assert.match(when("en", noon - 86_400, noon), /Nov 27/)
  assert.equal(tick("en", noon - 185), "12:00")
  assert.match(tick("en", noon - 12 * 3600 - 185), /Nov 28/)
})
