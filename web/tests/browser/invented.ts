// The page with a server that is invented: its state may be changed while it is looked at.

import { fileURLToPath } from "node:url"
import type { Server } from "node:http"
import type { AddressInfo } from "node:net"
import { invented, serve } from "../../dev.mjs"
import type { clusterOf } from "../fixture/data.mjs"
import { test } from "./stage.ts"

const PAGE = fileURLToPath(new URL("../../../crates/agent/assets/page", import.meta.url))

export interface State {
  cluster: ReturnType<typeof clusterOf>
  failure?: string
  refuse?: string
}

/** Tests with a server of their own, of which `data` answers under /api. */
export const servedBy = (data: Parameters<typeof serve>[1]) =>
  test.extend<object, { server: Server }>({
    server: [
      async ({}, use) => {
        const server = await serve(PAGE, data)
        await use(server)
        server.closeAllConnections()
        server.close()
      },
      { scope: "worker" },
    ],
    baseURL: async ({ server }, use) => use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
  })

/** Tests of a cluster in this state. */
export const testOf = (state: State) => servedBy(invented(state))
