//! Generates the element registry from the tables of `elements/`: sorted arrays, so that a look-up is a binary search.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Enterprise number of reverse elements (RFC 5103).
const REVERSE: u32 = 29305;

struct Row {
    key: (u32, u32),
    name: String,
    data_type: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=elements");
    let tables = Path::new("elements");
    let iana = read(&tables.join("iana-ipfix.csv"), 0, "id", "name", "abstract_data_type")?;
    let mut ipfix: Vec<Row> = reverse(&iana, &tables.join("reverse-29305-exceptions.csv"))?;
    ipfix.extend(iana);
    for path in files(tables)? {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if let Some(pen) = stem.strip_prefix("enterprise-") {
            ipfix.extend(read(&path, pen.parse()?, "id", "name", "abstract_data_type")?);
        }
    }
    let v9 = read(&tables.join("netflow-v9-fields.csv"), 0, "number", "name", "type")?;
    let scopes = read(&tables.join("netflow-v9-scopes.csv"), 0, "number", "name", "")?;

    let mut out = String::new();
    emit(&mut out, "IPFIX", ipfix)?;
    emit(&mut out, "NETFLOW_V9", v9)?;
    emit(&mut out, "NETFLOW_V9_SCOPES", scopes)?;
    for (table, kind) in [("SFLOW_FLOW_RECORDS", "flow_record"), ("SFLOW_COUNTER_RECORDS", "counter_record")]
    {
        emit(&mut out, table, sflow(&tables.join("sflow-structures.csv"), kind)?)?;
    }
    fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("elements.rs"), out)?;
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort();
    Ok(paths)
}

fn rows(path: &Path) -> Result<(csv::StringRecord, Vec<csv::StringRecord>), Box<dyn Error>> {
    let mut reader = csv::Reader::from_path(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let head = reader.headers()?.clone();
    let rows =
        reader.records().collect::<Result<_, _>>().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((head, rows))
}

fn column(path: &Path, head: &csv::StringRecord, name: &str) -> Result<usize, Box<dyn Error>> {
    let found = head.iter().position(|column| column == name);
    found.ok_or_else(|| format!("{}: no column {name}", path.display()).into())
}

fn read(path: &Path, pen: u32, id: &str, name: &str, data_type: &str) -> Result<Vec<Row>, Box<dyn Error>> {
    let (head, rows) = rows(path)?;
    let (id, name) = (column(path, &head, id)?, column(path, &head, name)?);
    let data_type = if data_type.is_empty() { None } else { Some(column(path, &head, data_type)?) };
    let mut out = Vec::new();
    for row in rows.iter().filter(|row| !row[name].is_empty()) {
        let data_type = data_type.map_or("", |at| &row[at]);
        out.push(Row {
            key: (pen, row[id].parse()?),
            name: row[name].to_owned(),
            data_type: data_type.to_owned(),
        });
    }
    Ok(out)
}

fn reverse(iana: &[Row], exceptions: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let (head, rows) = rows(exceptions)?;
    let id = column(exceptions, &head, "id")?;
    let excepted = rows.iter().map(|row| row[id].parse::<u32>()).collect::<Result<Vec<_>, _>>()?;
    let reversible = iana.iter().filter(|row| !excepted.contains(&row.key.1));
    Ok(reversible
        .map(|row| {
            let (first, rest) = row.name.split_at(1);
            let name = format!("reverse{}{rest}", first.to_uppercase());
            Row { key: (REVERSE, row.key.1), name, data_type: row.data_type.clone() }
        })
        .collect())
}

fn sflow(path: &Path, kind: &str) -> Result<Vec<Row>, Box<dyn Error>> {
    let (head, rows) = rows(path)?;
    let [enterprise, format, kinds, name] =
        ["enterprise", "format", "kind", "name"].map(|name| column(path, &head, name));
    let (enterprise, format, kinds, name) = (enterprise?, format?, kinds?, name?);
    let mut out = Vec::new();
    for row in rows.iter().filter(|row| &row[kinds] == kind) {
        let key = (row[enterprise].parse()?, row[format].parse()?);
        out.push(Row { key, name: row[name].to_owned(), data_type: String::new() });
    }
    Ok(out)
}

fn emit(out: &mut String, table: &str, mut rows: Vec<Row>) -> Result<(), Box<dyn Error>> {
    rows.sort_by_key(|row| row.key);
    if let Some(twice) = rows.windows(2).find(|pair| pair[0].key == pair[1].key) {
        return Err(format!("{table}: {:?} has two rows", twice[0].key).into());
    }
    writeln!(out, "static {table}: [Element; {}] = [", rows.len())?;
    for Row { key: (pen, id), name, data_type } in &rows {
        let octets = octets(data_type);
        let data_type = data_type_variant(data_type);
        writeln!(
            out,
            "    Element {{ pen: {pen}, id: {id}, name: {name:?}, data_type: DataType::{data_type}, \
             octets: {octets} }},"
        )?;
    }
    writeln!(out, "];")?;
    Ok(())
}

fn data_type_variant(name: &str) -> &'static str {
    match name {
        "unsigned8" | "unsigned16" | "unsigned32" | "unsigned64" => "Unsigned",
        "signed8" | "signed16" | "signed32" | "signed64" => "Signed",
        "float32" | "float64" => "Float",
        "boolean" => "Boolean",
        "macAddress" => "MacAddress",
        "string" => "String",
        "dateTimeSeconds" => "DateTimeSeconds",
        "dateTimeMilliseconds" => "DateTimeMilliseconds",
        "dateTimeMicroseconds" => "DateTimeMicroseconds",
        "dateTimeNanoseconds" => "DateTimeNanoseconds",
        "ipv4Address" => "Ipv4Address",
        "ipv6Address" => "Ipv6Address",
        "basicList" => "BasicList",
        "subTemplateList" => "SubTemplateList",
        "subTemplateMultiList" => "SubTemplateMultiList",
        _ => "OctetArray",
    }
}

/// Octets of a number, 0 for what is none.
fn octets(data_type: &str) -> u8 {
    match data_type.strip_prefix("unsigned").or(data_type.strip_prefix("signed")) {
        Some("8") => 1,
        Some("16") => 2,
        Some("32") => 4,
        Some("64") => 8,
        _ => 0,
    }
}
