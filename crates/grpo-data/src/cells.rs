//! Values of Arrow arrays as JSON.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, downcast_integer_array};
use arrow_schema::DataType;
use serde_json::{Map, Value};

/// Whether values of a type can be JSON: texts, numbers, booleans, and lists and structures of them.
pub(crate) fn can_be_read(kind: &DataType) -> bool {
    match kind {
        DataType::Null | DataType::Boolean | DataType::Utf8 | DataType::Float32 | DataType::Float64 => true,
        DataType::List(item) => can_be_read(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| can_be_read(field.data_type())),
        kind => kind.is_integer(),
    }
}

/// The value at a place of an array whose type [can be read](can_be_read); none if it takes more bytes than are `left`. A number
/// that is not finite is null.
pub(crate) fn cell(array: &dyn Array, i: usize, left: &mut u64) -> Option<Value> {
    let text = array.as_string_opt::<i32>().filter(|_| array.is_valid(i)).map(|texts| texts.value(i));
    *left = left.checked_sub(text.map_or(1, |text| 1 + text.len() as u64))?;
    if let Some(text) = text {
        return Some(text.into());
    }
    if array.is_null(i) {
        return Some(Value::Null);
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(i).into(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(i).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(i).into(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(i);
            let items: Option<Vec<Value>> = (0..items.len()).map(|i| cell(items.as_ref(), i, left)).collect();
            items?.into()
        }
        DataType::Struct(fields) => {
            let parts = fields.iter().zip(array.as_struct().columns());
            let named =
                parts.map(|(field, part)| Some((field.name().clone(), cell(part.as_ref(), i, left)?)));
            named.collect::<Option<Map<_, _>>>()?.into()
        }
        _ => downcast_integer_array!(
            array => array.value(i).into(),
            _other => Value::Null,
        ),
    })
}
