// A site of somebody else: one page with one bundled script, on an origin that is not the gateway's.
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const PAGE = '<!doctype html><meta charset="utf-8"><title>Agent</title><link rel="icon" href="data:,">';

export async function startSite(script) {
  const bundled = await build({
    entryPoints: [fileURLToPath(new URL(script, import.meta.url))],
    bundle: true,
    write: false,
    format: "iife",
    platform: "browser",
    logLevel: "error",
  });
  const answers = new Map([
    ["/", ["text/html; charset=utf-8", `${PAGE}<script src="/bundle.js"></script>`]],
    ["/bundle.js", ["text/javascript; charset=utf-8", bundled.outputFiles[0].text]],
  ]);
  const server = createServer((request, response) => {
    const [type, body] = answers.get(request.url) ?? [];
    response.writeHead(type ? 200 : 404, { "Content-Type": type ?? "text/plain" }).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    stop: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
