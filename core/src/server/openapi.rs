//! `GET v1/openapi.json`: what is answered where, for programs. The numbers in it are those that the server has.

use super::access::text;
use super::answer::{self, CHANGING};
use super::{conditions, refusal};
use crate::image::manifest::BYTE_LIMIT;
use crate::node::action::REPORT_LIMIT;
use crate::store::receive::{HAS_LIMIT, PACK_LIMIT};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

/// Answers with the document.
pub(super) async fn get(headers: HeaderMap) -> Response {
    let document = document().to_string();
    let etag = answer::etag(document.as_bytes());
    if conditions::has_it(&headers, &etag) {
        return answer::unchanged(&etag, CHANGING);
    }
    let mut response = text(StatusCode::OK, document);
    let to = response.headers_mut();
    to.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer::describe(to, &etag, CHANGING, None);
    response
}

const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$";
const HASH: &str = "^[0-9a-f]{64}$";
const NUMBER: &str = "^[0-9]{16}$";

/// The document, OpenAPI 3.1.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    let mut add = |path: &str, value: Value| _ = paths.insert(path.to_owned(), value);
    add("/healthz", json!({ "get": plain("Whether the store can be read", "text/plain", &[503]) }));
    add("/metrics", json!({ "get": plain("What the server has done", "application/openmetrics-text", &[]) }));
    add("/v1/openapi.json", json!({ "get": plain("This document", "application/json", &[304]) }));
    for (path, parameters) in objects() {
        let object = object("An object of the store", &parameters, "application/octet-stream");
        add(path, json!({ "get": object, "head": object }));
    }
    let listing = json!([{ "name": "prefix", "in": "path", "required": true, "schema": {
        "enum": ["packs", "idx", "images", "refs", "tags", "blobs"] } }]);
    let mut list =
        plain("The objects beneath a prefix, a line of JSON each", "application/x-ndjson", &[304, 404, 501, 503]);
    list["parameters"] = listing;
    add("/v1/list/{prefix}", json!({ "get": list }));
    if cfg!(feature = "build") {
        let listed = object("The distributions", &json!([]), "application/json");
        add("/v1/distros", json!({ "get": listed, "head": listed }));
        // `path` may have several parts, which OpenAPI cannot say.
        let parameters = json!([
            parameter("path", "name", true, &json!({ "type": "string", "pattern": NAME })),
            parameter("path", "path", true, &json!({ "type": "string", "minLength": 1 })),
        ]);
        let file = object("A file of a distribution", &parameters, "application/octet-stream");
        add("/v1/distros/{name}/{path}", json!({ "get": file, "head": file }));
    }
    add("/v1/session", json!({ "get": asked("token", "What a token lets its owner do", None, &granted()) }));
    let bytes = |limit: usize| {
        Some(json!({ "application/octet-stream": { "schema": { "type": "string", "maxLength": limit } } }))
    };
    let bits = json!({ "application/octet-stream": {} });
    add("/v1/has", json!({ "post": asked("token", "Which chunks need not be sent", bytes(HAS_LIMIT * 32), &bits) }));
    add("/v1/packs", json!({ "post": asked("token", "Takes a pack", bytes(PACK_LIMIT), &Value::Null) }));
    let mut publish = asked("token", "Makes the next generation of the name", bytes(BYTE_LIMIT), &published());
    publish["parameters"] = json!([
        parameter("query", "expect", false, &json!({ "type": "integer", "minimum": 0 })),
        parameter("query", "tag", false, &json!({ "type": "string", "pattern": NAME })),
    ]);
    add("/v1/publish", json!({ "post": publish }));
    let mut tag = asked("token", "Points a tag to a generation, unless it points to a later one", None, &Value::Null);
    tag["parameters"] = json!([
        parameter("path", "tag", true, &json!({ "type": "string", "pattern": NAME })),
        parameter("query", "generation", true, &json!({ "type": "integer", "minimum": 1 })),
    ]);
    add("/v1/tags/{tag}", json!({ "put": tag }));
    let mut orders = asked("node", "The next order for a node", None, &order());
    orders["parameters"] = json!([parameter("query", "wait", false, &json!({ "type": "integer", "minimum": 0 }))]);
    orders["responses"]["204"] = json!({ "description": "There is none in that time" });
    add("/v1/orders", json!({ "get": orders }));
    let report = Some(json!({ "application/json": { "schema": report() } }));
    let mut said = asked("node", "What a node says of an order", report, &Value::Null);
    said["parameters"] = json!([parameter(
        "path",
        "id",
        true,
        &json!({ "type": "string", "pattern": NUMBER.replace("0-9", "0-9a-f") })
    )]);
    add("/v1/orders/{id}", json!({ "post": said }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "A libcv store over HTTP",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Objects of a store, captures that are sent, orders for nodes. The texts that count are server.md, capture-protocol.md and node-protocol.md.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "What cvctl token create printed" },
                "node": { "type": "http", "scheme": "bearer", "description": "What cvctl node add printed" },
            },
            "schemas": { "Refusal": refusal::schema() },
        },
    })
}

/// The paths of objects, with their parameters.
fn objects() -> Vec<(&'static str, Value)> {
    let (name, hash, number) = (
        |n| parameter("path", n, true, &json!({ "type": "string", "pattern": NAME })),
        |n| parameter("path", n, true, &json!({ "type": "string", "pattern": HASH })),
        |n| parameter("path", n, true, &json!({ "type": "string", "pattern": NUMBER })),
    );
    let front = parameter("path", "front", true, &json!({ "type": "string", "pattern": "^[0-9a-f]{2}$" }));
    vec![
        ("/store.json", json!([])),
        ("/idx/CURRENT", json!([])),
        ("/idx/{segment}.idx", json!([hash("segment")])),
        ("/packs/{front}/{pack}.pack", json!([front, hash("pack")])),
        ("/images/{image}.cvm", json!([hash("image")])),
        ("/refs/{name}/HEAD", json!([name("name")])),
        ("/refs/{name}/{generation}", json!([name("name"), number("generation")])),
        ("/tags/{name}/{tag}/{number}", json!([name("name"), name("tag"), number("number")])),
        ("/blobs/{image}/{file}", json!([hash("image"), name("file")])),
    ]
}

/// Something that is read, or a part of it.
fn object(summary: &str, parameters: &Value, kind: &str) -> Value {
    let body = json!({ kind: {} });
    json!({
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": "All of it", "content": body },
            "206": { "description": "The range that was asked for", "content": body },
            "304": { "description": "It is the one that the client has" },
            "404": { "description": "There is none", "content": { "text/plain": {} } },
            "416": { "description": "It ends before", "content": { "text/plain": {} } },
        },
    })
}

/// Something that anybody may ask.
fn plain(summary: &str, kind: &str, others: &[u16]) -> Value {
    let mut responses = json!({ "200": { "description": summary, "content": { kind: {} } } });
    for status in others {
        responses[status.to_string()] = match status {
            304 => json!({ "description": "It is the one that the client has" }),
            _ => json!({ "description": "Why not", "content": { "text/plain": {} } }),
        };
    }
    json!({ "summary": summary, "responses": responses })
}

/// Something that only somebody may ask who says who it is. Without an answer there is no body.
fn asked(who: &str, summary: &str, body: Option<Value>, answer: &Value) -> Value {
    let refusal = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Refusal" } } });
    let mut responses = Map::new();
    for (status, why) in refusal::STATUSES {
        responses.insert(status.to_string(), json!({ "description": why, "content": refusal }));
    }
    match answer {
        Value::Null => responses.insert("204".into(), json!({ "description": "It is done" })),
        answer => responses.insert("200".into(), json!({ "description": summary, "content": answer })),
    };
    let mut out = json!({ "summary": summary, "security": [{ who: [] }], "responses": responses });
    if let Some(content) = body {
        out["requestBody"] = json!({ "required": true, "content": content });
    }
    out
}

fn parameter(place: &str, name: &str, required: bool, schema: &Value) -> Value {
    json!({ "name": name, "in": place, "required": required, "schema": schema })
}

fn in_json(properties: &Value, required: &[&str]) -> Value {
    json!({ "application/json": { "schema": { "type": "object", "properties": properties, "required": required } } })
}

fn granted() -> Value {
    let number = json!({ "type": ["integer", "null"] });
    let properties = json!({ "name": { "type": "string" }, "store": { "type": "string" }, "max_size": number,
        "received": { "type": "integer" }, "expires": { "type": ["string", "null"] } });
    in_json(&properties, &["name", "store", "max_size", "received", "expires"])
}

fn published() -> Value {
    let hash = json!({ "type": "string", "pattern": HASH });
    in_json(
        &json!({ "generation": { "type": "integer" }, "image": hash, "tree": hash }),
        &["generation", "image", "tree"],
    )
}

fn order() -> Value {
    let properties =
        json!({ "id": { "type": "string" }, "action": { "type": "object" }, "token": { "type": ["string", "null"] } });
    in_json(&properties, &["id", "action", "token"])
}

fn report() -> Value {
    json!({
        "type": "object",
        "description": format!("At most {REPORT_LIMIT} bytes"),
        "properties": {
            "state": { "enum": ["running", "refused", "failed", "done"] },
            "code": { "type": ["integer", "null"], "minimum": -2_147_483_648_i64, "maximum": 2_147_483_647 },
            "message": { "type": ["string", "null"] },
            "hint": { "type": ["string", "null"] },
            "result": true,
        },
        "required": ["state"],
        "additionalProperties": false,
    })
}
