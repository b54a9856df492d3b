import assert from "node:assert/strict"
import { test } from "node:test"
import { fromLocal, moment, toLocal } from "../../src/lib/period.ts"
import { formatRoute, linkTo, parseRoute } from "../../src/lib/route.ts"

test("a fragment is read as it was written", () => {
  const route = { view: "sessions", params: { user: "a&b=c/#?", sort: "-sm_utilization_ratio", since: "7d" } } as const
  assert.deepEqual(parseRoute(formatRoute(route)), route)
  assert.deepEqual(parseRoute("#/sessions?user=").params, { user: "" })
  assert.deepEqual(parseRoute(""), { view: "overview", params: {} })
  assert.deepEqual(parseRoute("#/nonsense?evil=1"), { view: "overview", params: {} })
})

test("a period goes along", () => {
  assert.equal(linkTo({ view: "users", params: { since: "7d", search: "x" } }, "user", { user: "김" }), "#/user?since=7d&user=%EA%B9%80")
})

test("moments are those of the API", () => {
  assert.equal(moment("now", 100_000), 100_000)
  assert.equal(moment("90m", 100_000), 94_600)
  assert.equal(moment("2026-11-27", 0), Date.UTC(2026, 10, 27) / 1000)
  assert.equal(moment("2026-11-27T02:00", 0), Date.UTC(2026, 10, 27, 2) / 1000)
  assert.equal(moment("2026-11-27T11:00+09:00", 0), Date.UTC(2026, 10, 27, 2) / 1000)
  assert.equal(moment("yesterday", 0), undefined)
  const at = Date.UTC(2026, 10, 27, 2, 5) / 1000
  assert.equal(moment(fromLocal(toLocal(at)) ?? "", 0), at)
  assert.equal(fromLocal("nonsense"), undefined)
})
