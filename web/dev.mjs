// Serves the page for those who work on it: node dev.mjs [--to http://127.0.0.1:9836 | --nodes N] [--port N].
// With --to it asks an agent or a cluster's server; with --nodes it answers for an invented cluster.
// The page is built anew when a source changes.

import { createServer, request } from "node:http"
import { watch } from "node:fs"
import { readFile, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { buildPage } from "./build.mjs"
import { answer } from "./tests/fixture/answers.mjs"
import { clusterOf } from "./tests/fixture/data.mjs"

const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", svg: "image/svg+xml" }
/** What the program says of the page too, so that what it forbids is seen here. */
export const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-cache",
}

/** A server of an invented cluster; `state` may be changed while it runs. */
export function invented(state) {
  return (url, response) => {
    if (url.pathname === "/readyz") return response.writeHead(200).end("ready")
    const failing = state.refuse && !url.pathname.endsWith("/about")
    const document = failing ? null : answer(state.cluster, url.pathname.replace("/api/v1/", ""), Object.fromEntries(url.searchParams), state.failure ?? null)
    const status = document ? 200 : failing ? 503 : 404
    const body = document ?? { title: "Refused", status, detail: state.refuse ?? `${url.pathname} is not there` }
    response.writeHead(status, { "content-type": document ? "application/json" : "application/problem+json" }).end(JSON.stringify(body))
  }
}

/** A server that asks another. */
export function passing(target) {
  return (url, response, asked) => {
    const on = request(new URL(url.pathname + url.search, target), { method: asked.method, headers: { ...asked.headers, host: new URL(target).host } }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    on.on("error", (error) => (response.headersSent ? response.destroy() : response.writeHead(502).end(String(error))))
    response.on("close", () => on.destroy())
    on.end()
  }
}

/** Serves the files of a folder, and what `data` answers under /api and /readyz. */
export function serve(folder, data, port = 0) {
  const server = createServer(async (asked, response) => {
    const url = new URL(asked.url ?? "/", "http://localhost")
    if (url.pathname.startsWith("/api/") || url.pathname === "/readyz") return data(url, response, asked)
    const name = url.pathname === "/" ? "index.html" : url.pathname.replace(/^\/page\//, "")
    const file = join(folder, name)
    if (!/^[a-z]+\.[a-z]+$/.test(name) || !(await stat(file).catch(() => null))) return response.writeHead(404).end("not there\n")
    response.writeHead(200, { ...HEADERS, "content-type": TYPES[name.split(".").pop()] }).end(await readFile(file))
  })
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { to: { type: "string" }, nodes: { type: "string" }, port: { type: "string", default: "8080" } } })
  if (!values.to === !values.nodes) throw new Error("usage: node dev.mjs (--to URL | --nodes N) [--port N]")
  const folder = join(tmpdir(), `gpu-session-page-${process.pid}`)
  const data = values.to ? passing(values.to) : invented({ cluster: clusterOf(Number(values.nodes)) })
  await serve(folder, data, Number(values.port))
  await buildPage(folder, { minify: false })
  console.log(`http://127.0.0.1:${values.port}/`)
  let timer
  watch(fileURLToPath(new URL("src", import.meta.url)), { recursive: true }, () => {
    clearTimeout(timer)
    timer = setTimeout(() => buildPage(folder, { minify: false }).catch((error) => console.error(String(error))), 100)
  })
}
