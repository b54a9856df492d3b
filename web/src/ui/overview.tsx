import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core"
import { useLayoutEffect, useReducer, useRef, useState } from "preact/hooks"
import { cluster } from "../data/cluster.ts"
import type { Pages } from "../data/rows.ts"
import { language, messages } from "../i18n/index.ts"
import { gpus, inUse } from "../lib/devices.ts"
import { count, counted, when } from "../lib/format.ts"
import { visible } from "../lib/text.ts"
import { change, isCluster, route, serverNow } from "../state.ts"
import type { Node, Part } from "../types.ts"
import { Link } from "./common.tsx"
import { useAsked, usePages, useWidth } from "./hooks.ts"
import { NodeOverview } from "./node-overview.tsx"
import { Failure } from "./table.tsx"
import { GpuTile, Legend } from "./tile.tsx"

export function Overview() {
  return isCluster.value ? <ClusterOverview /> : <NodeOverview />
}

/** Above so many nodes fields are small where nobody said how large they are to be. */
const MANY = 24
const PER_ROW = 8
const GAP = 10

interface Measures {
  card: number
  head: number
  tile: number
}

const DENSE: Measures = { card: 208, head: 15, tile: 22 }
const DETAIL: Measures = { card: 560, head: 18, tile: 50 }

function ClusterOverview() {
  const m = messages.value
  const { search, sort, state, density } = route.value.params
  const pages = usePages<Node>("cluster/nodes", "nodes", { search, sort: sort ?? "node", state })
  const dense = density ? density === "dense" : (cluster.value?.nodes ?? 0) > MANY
  return (
    <div class="overview">
      <div class="overview-bar">
        <Legend />
        <StateFilter state={state} />
        <div class="segmented" role="group" aria-label={m.density}>
          <button type="button" aria-pressed={dense} onClick={() => change({ density: "dense" })}>{m.dense}</button>
          <button type="button" aria-pressed={!dense} onClick={() => change({ density: "detail" })}>{m.detail}</button>
        </div>
        <Failure rows={pages} />
        <span class="row-count" role="status">{pages.waiting ? m.loading : pages.total === null ? (pages.failure === null ? m.loading : "") : `${m.nodes}: ${count(language.value, pages.total)}`}</span>
      </div>
      <Nodes pages={pages} dense={dense} />
    </div>
  )
}

function StateFilter({ state }: { state: string | undefined }) {
  const m = messages.value
  const states: [string, string][] = [["", m.all], ["busy", m.busyNodes], ["idle", m.idleNodes], ["old", m.old], ["incomplete", m.incomplete]]
  return (
    <label class="field">
      <span>{m.state}</span>
      <select value={state ?? ""} onChange={(event) => change({ state: event.currentTarget.value || undefined })}>
        {states.map(([value, name]) => <option key={value} value={value}>{name}</option>)}
      </select>
    </label>
  )
}

/** The nodes as cards, of which only those that are seen are there. */
function Nodes({ pages, dense }: { pages: Pages<Node>; dense: boolean }) {
  const m = messages.value
  const scroll = useRef<HTMLDivElement>(null)
  const [, redraw] = useReducer((n: number, _: void) => n + 1, 0)
  const [measure, width] = useWidth()
  const sizes = dense ? DENSE : DETAIL
  const across = Math.max(1, Math.floor((width + GAP) / (Math.min(sizes.card, width || sizes.card) + GAP)))
  const rows = Math.ceil((pages.total ?? 0) / across)
  const heightOf = (row: number) => {
    const lines = Array.from({ length: across }, (_, i) => gpuLines(pages.at(row * across + i), width < DETAIL.card && !dense ? 4 : PER_ROW))
    return sizes.head + Math.max(...lines) * (sizes.tile + 4) + 18 + GAP
  }
  const options = {
    count: rows, getScrollElement: () => scroll.current, estimateSize: heightOf, overscan: 3,
    observeElementRect, observeElementOffset, scrollToFn: elementScroll, onChange: () => redraw(),
  }
  const [virtual] = useState(() => new Virtualizer<HTMLDivElement, HTMLDivElement>(options))
  virtual.setOptions(options)
  useLayoutEffect(() => virtual._didMount(), [])
  useLayoutEffect(() => virtual._willUpdate())
  useLayoutEffect(() => virtual.measure(), [across, dense, pages, pages.version.value])
  const items = virtual.getVirtualItems()
  const first = items[0]?.index ?? 0
  const last = items.at(-1)?.index ?? 0
  useLayoutEffect(() => pages.want(first * across, (last + 1) * across))
  return (
    <div class={`nodes-scroll ${pages.waiting ? "waits" : ""}`} aria-busy={pages.waiting} ref={scroll} tabIndex={0} role="region" aria-label={m.nodes}>
      <div class="nodes" ref={measure} role="list" style={{ height: `${virtual.getTotalSize()}px` }}>
        {items.flatMap((item) => Array.from({ length: across }, (_, column) => {
          const index = item.index * across + column
          if (index >= (pages.total ?? 0)) return null
          const style = {
            top: `${item.start}px`, left: `${(column * 100) / across}%`, height: `${item.size - GAP}px`,
            width: `calc(${100 / across}% - ${across > 1 ? GAP : 0}px)`,
          }
          return <NodeCard key={index} node={pages.at(index)} index={index} total={pages.total ?? 0} dense={dense} style={style} />
        }))}
      </div>
      {pages.total === 0 && <p class="empty">{route.value.params.search || route.value.params.state ? m.nothingFound : m.noNodes}</p>}
    </div>
  )
}

function gpuLines(node: Node | undefined, perRow: number): number {
  return node ? Math.max(1, Math.ceil(gpus(node.devices).length / perRow)) : 1
}

function NodeCard({ node, index, total, dense, style }: {
  node: Node | undefined
  index: number
  total: number
  dense: boolean
  style: Record<string, string>
}) {
  const m = messages.value
  if (!node) return <div class="node-card waiting" role="listitem" style={style}>…</div>
  const name = visible(node.node)
  const busy = inUse(node.devices)
  return (
    <div class={`node-card ${dense ? "dense" : "detail"} ${node.old ? "old" : ""}`} role="listitem" aria-setsize={total} aria-posinset={index + 1} style={style}>
      <div class="node-head">
        <Link view="sessions" params={{ node: node.node }} title={m.toNode(name)}>{name}</Link>
        {node.old && <span class="badge warn" title={m.oldTitle}>{m.old}{node.timestamp !== null && !dense && ` · ${when(language.value, node.timestamp, serverNow.peek())}`}</span>}
        {node.sources_down.length > 0 && <span class="badge warn" title={m.sourcesDown(node.sources_down.map(visible).join(", "))}>{dense ? "!" : m.incomplete}</span>}
        {!node.old && node.devices.length > 0 && <span class="node-sum">{busy.count === null ? "–" : counted(language.value, busy.count, busy.least)}/{node.devices.length}</span>}
      </div>
      <div class="tiles">
        {gpus(node.devices).map((gpu) => <GpuTile key={gpu.index} node={node.node} old={node.old} gpu={gpu} dense={dense} />)}
        {node.devices.length === 0 && <span class="muted">{m.noDevices}</span>}
      </div>
    </div>
  )
}

/** The node of a device, by its name. */
export function useNode(name: string | undefined) {
  const asked = useAsked<Part & { nodes: Node[] }>(name === undefined ? null : "cluster/nodes", { node: name })
  return { ...asked, node: asked.value?.nodes[0] ?? null }
}
