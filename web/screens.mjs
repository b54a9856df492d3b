// Takes pictures of the page for people to look at: node screens.mjs FOLDER [URL of an agent]
// The cluster is an invented one.

import { chromium } from "@playwright/test"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { invented, passing, serve } from "./dev.mjs"
import { clusterOf } from "./tests/fixture/data.mjs"

const PAGE = fileURLToPath(new URL("../crates/agent/assets/page", import.meta.url))
const LARGE = { width: 1280, height: 800 }
const PHONE = { width: 360, height: 740 }
const [folder, agent] = process.argv.slice(2)
if (!folder) throw new Error("usage: node screens.mjs FOLDER [URL]")

const few = clusterOf(14)
const old = { cluster: { ...few, now: few.now - 600, at: few.now }, failure: "http://prometheus:9090 does not answer: connection refused" }
const servers = {
  few: await serve(PAGE, invented({ cluster: few })),
  many: await serve(PAGE, invented({ cluster: clusterOf(1000) })),
  empty: await serve(PAGE, invented({ cluster: clusterOf(0) })),
  down: await serve(PAGE, invented(old)),
  ...(agent && { agent: await serve(PAGE, passing(agent)) }),
}

const screens = [
  ["cluster", "few", "/"],
  ["cluster-dark", "few", "/", { colorScheme: "dark" }],
  ["cluster-many", "many", "/"],
  ["cluster-many-dark", "many", "/", { colorScheme: "dark" }],
  ["sessions", "few", "/#/sessions?sort=-sm_utilization_ratio"],
  ["users-ko", "few", "/#/users", { locale: "ko-KR" }],
  ["idle", "many", "/#/idle"],
  ["device", "few", "/#/device?node=gpu-02&gpu=4"],
  ["device-dark-ko", "few", "/#/device?node=gpu-02&gpu=4", { colorScheme: "dark", locale: "ko-KR" }],
  ["user", "few", "/#/user?user=alice"],
  ["down", "down", "/"],
  ["empty", "empty", "/"],
  ["phone", "many", "/", { viewport: PHONE }],
  ["phone-sessions", "many", "/#/sessions", { viewport: PHONE, colorScheme: "dark", locale: "ko-KR" }],
  ["phone-device", "few", "/#/device?node=gpu-02&gpu=4", { viewport: PHONE }],
  ...(agent
    ? [["node", "agent", "/"], ["node-dark", "agent", "/", { colorScheme: "dark" }], ["node-device", "agent", "/#/device?gpu=1"], ["node-user", "agent", "/#/user?user=alice"], ["node-phone", "agent", "/", { viewport: PHONE }]]
    : []),
]

await mkdir(folder, { recursive: true })
const browser = await chromium.launch({ executablePath: process.env.PAGE_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] })
for (const [name, server, path, options = {}] of screens) {
  const context = await browser.newContext({ viewport: LARGE, locale: "en-US", ...options })
  const page = await context.newPage()
  page.on("pageerror", (error) => {
    throw new Error(`${name}: ${error.message}`)
  })
  await page.goto(`http://127.0.0.1:${servers[server].address().port}${path}`)
  await page.locator(".fresh", { hasText: /\d:\d\d:\d\d/ }).waitFor()
  await page.waitForLoadState("load")
  // A node's lines need some samples to be lines.
  await page.waitForTimeout(server === "agent" ? 8000 : 1200)
  await page.screenshot({ path: join(folder, `${name}.png`) })
  await context.close()
}
await browser.close()
for (const server of Object.values(servers)) {
  server.closeAllConnections()
  server.close()
}
