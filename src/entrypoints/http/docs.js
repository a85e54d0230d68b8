"use strict";

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

const resolve = (schema, schemas) =>
  schema && schema.$ref ? schemas[schema.$ref.split("/").pop()] : schema;

// A body to start from: what is required, with empty values of the right kind.
function example(given, schemas, depth = 0) {
  const schema = resolve(given, schemas) || {};
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  const choice = (schema.oneOf || schema.anyOf || [])[0];
  if (choice) return example(choice, schemas, depth + 1);
  const kind = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (kind === "object" && depth < 5) {
    const required = schema.required || [];
    const entries = Object.entries(schema.properties || {}).filter(([name]) => required.includes(name));
    return Object.fromEntries(entries.map(([name, inner]) => [name, example(inner, schemas, depth + 1)]));
  }
  return { array: [], boolean: false, integer: 0, number: 0, string: "" }[kind] ?? {};
}

async function send(method, path, inputs, body, output) {
  const query = new URLSearchParams();
  const headers = {};
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
    else if (input.value) headers[parameter.name] = input.value;
  }
  const key = document.getElementById("key").value;
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  output.textContent = "…";
  try {
    const url = query.size ? `${path}?${query}` : path;
    const answer = await fetch(url, { method, headers, body: body ? body.value : undefined });
    output.textContent = `${answer.status} ${answer.statusText}\n`;
    const parts = answer.body ? answer.body.pipeThrough(new TextDecoderStream()).getReader() : null;
    let text = "";
    for (let part; parts && !(part = await parts.read()).done; ) {
      text += part.value;
      output.textContent = `${answer.status} ${answer.statusText}\n${text}`;
    }
    if ((answer.headers.get("content-type") || "").includes("json"))
      output.textContent = `${answer.status} ${answer.statusText}\n${JSON.stringify(JSON.parse(text), null, 2)}`;
  } catch (error) {
    output.textContent += `\n${error}`;
  }
}

function operation(method, path, about, schemas) {
  const inputs = (about.parameters || []).map((parameter) => [
    parameter,
    element("input", { placeholder: parameter.required ? "required" : String(parameter.schema?.default ?? "") }),
  ]);
  const schema = about.requestBody?.content?.["application/json"]?.schema;
  const takesBody = schema || /\/tools\/\{tool\}$/.test(path);
  const body = takesBody && element("textarea", { rows: 6, value: JSON.stringify(example(schema, schemas), null, 2) });
  const output = element("pre");
  const button = element("button", { textContent: "Send" });
  button.addEventListener("click", () => send(method.toUpperCase(), path, inputs, body, output));
  const details = element(
    "details",
    {},
    element("summary", {}, element("span", { className: "method", textContent: method.toUpperCase() }),
      element("code", { textContent: path })),
    element("p", { textContent: about.description || about.summary || "" }),
  );
  for (const [parameter, input] of inputs)
    details.append(element("label", {}, `${parameter.name} (${parameter.in}) `, input));
  if (body) details.append(element("label", {}, "Body", body));
  if (schema) {
    const shape = JSON.stringify(resolve(schema, schemas), null, 2);
    details.append(element("details", {}, element("summary", { textContent: "Shape" }), element("pre", { textContent: shape })));
  }
  details.append(button, output);
  return details;
}

async function start() {
  const key = document.getElementById("key").value;
  const main = document.getElementById("operations");
  const answer = await fetch("/openapi.json", key ? { headers: { Authorization: `Bearer ${key}` } } : {});
  if (!answer.ok) {
    main.replaceChildren(element("p", { textContent: "Enter the key to see the operations." }));
    return;
  }
  const document_ = await answer.json();
  const groups = new Map();
  for (const [path, operations] of Object.entries(document_.paths))
    for (const [method, about] of Object.entries(operations)) {
      if (!["get", "post", "put", "patch", "delete"].includes(method)) continue;
      const tag = (about.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, element("section", {}, element("h2", { textContent: tag })));
      groups.get(tag).append(operation(method, path, about, document_.components?.schemas || {}));
    }
  main.replaceChildren(...groups.values());
}

document.getElementById("key").addEventListener("change", start);
start();
