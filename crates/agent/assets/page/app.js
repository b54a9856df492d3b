"use strict";

const links = {
  node: ["/metrics", "/api/v1/devices", "/api/v1/sessions", "/api/v1/users", "/api/v1/allocations", "/api/v1/openapi.json"],
  cluster: ["/api/v1/cluster", "/api/v1/cluster/nodes", "/api/v1/cluster/sessions", "/api/v1/cluster/allocations", "/api/v1/cluster/users"],
};

async function show() {
  const what = document.getElementById("what");
  try {
    const answer = await fetch("/api/v1/about");
    const body = await answer.json();
    if (!answer.ok) {
      what.textContent = body.detail;
      return;
    }
    const of = body.scope === "node" ? (body.node ?? "this node") : "the cluster";
    what.textContent = `Version ${body.version}, for ${of}.`;
    const list = document.querySelector("ul");
    for (const path of links[body.scope]) {
      const link = document.createElement("a");
      link.href = path;
      link.textContent = path;
      const item = document.createElement("li");
      item.append(link);
      list.append(item);
    }
  } catch (error) {
    what.textContent = `The server does not answer: ${error.message}`;
  }
}

show();
