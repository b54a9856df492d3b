// Measures the page in Chromium: node bench.mjs
// First paint with 224 sessions, and what an interaction costs with 20 000. It prints, and judges nothing.

import { chromium } from "@playwright/test"
import { fileURLToPath } from "node:url"
import { invented, serve } from "./dev.mjs"
import { clusterOf } from "./tests/fixture/data.mjs"

const PAGE = fileURLToPath(new URL("../crates/agent/assets/page", import.meta.url))
const TIMES = 7

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
const show = (name, values) => console.log(`${name.padEnd(44)} median ${median(values).toFixed(0)} ms (${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)})`)

/** An invented cluster with just so many sessions. */
function withSessions(count, nodes, per) {
  const cluster = clusterOf(nodes, { per })
  if (cluster.sessions.length < count) throw new Error(`only ${cluster.sessions.length} sessions`)
  cluster.sessions.length = count
  return cluster
}

/** Milliseconds to the first paint with content, and to the first row. */
async function opened(browser, url, path) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
  const page = await context.newPage()
  await page.goto(url + path)
  await page.locator("tbody tr:not(.space) td, .node-card").first().waitFor()
  const times = await page.evaluate(() => {
    const paint = performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN
    return { paint, rows: performance.now() }
  })
  await context.close()
  return times
}

/** Milliseconds of script, style and layout that something costs. */
async function cost(page, client, act) {
  const read = async () => {
    const { metrics } = await client.send("Performance.getMetrics")
    const of = (name) => metrics.find((metric) => metric.name === name)?.value ?? 0
    return { script: of("ScriptDuration") * 1000, all: of("TaskDuration") * 1000 }
  }
  await page.waitForTimeout(600)
  const before = await read()
  await act()
  await page.waitForTimeout(600)
  const after = await read()
  return { script: after.script - before.script, all: after.all - before.all }
}

const browser = await chromium.launch({ executablePath: process.env.PAGE_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] })
const small = await serve(PAGE, invented({ cluster: withSessions(224, 40, 1.4) }))
const url = (server) => `http://127.0.0.1:${server.address().port}`
for (const [name, path] of [["overview", "/"], ["sessions", "/#/sessions"]]) {
  const all = []
  for (let i = 0; i < TIMES; i++) all.push(await opened(browser, url(small), path))
  show(`224 sessions, ${name}: first paint`, all.map(({ paint }) => paint))
  show(`224 sessions, ${name}: rows are there`, all.map(({ rows }) => rows))
}

const large = await serve(PAGE, invented({ cluster: withSessions(20_000, 1200, 3) }))
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } })
const client = await page.context().newCDPSession(page)
await client.send("Performance.enable")
await page.goto(`${url(large)}/#/sessions`)
await page.locator("tbody tr:not(.space) td").first().waitFor()
const acts = {
  sort: (i) => page.getByRole("button", { name: i % 2 ? "PID" : "Memory", exact: true }).click(),
  search: (i) => page.getByRole("searchbox").fill(i % 2 ? "alice" : "team-nlp"),
  "scroll to elsewhere": (i) => page.locator(".table-scroll").evaluate((element, part) => element.scrollTo(0, element.scrollHeight * part), (i + 1) / 10),
}
for (const [name, act] of Object.entries(acts)) {
  const costs = []
  for (let i = 0; i < TIMES; i++) costs.push(await cost(page, client, () => act(i)))
  show(`20 000 sessions, ${name}: script`, costs.map(({ script }) => script))
  show(`20 000 sessions, ${name}: all of the page's work`, costs.map(({ all }) => all))
}
await browser.close()
for (const server of [small, large]) {
  server.closeAllConnections()
  server.close()
}
