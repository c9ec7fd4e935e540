"""International Social Survey Programme: the integrated file of one module, as GESIS gives it out.

Background columns and codes are those of the modules of about 2002 and later; docs/study.md gives each fact's source.
"""

from __future__ import annotations

from causal.presets.definition import Preset, PresetAttribute

# GESIS archive numbers of the integrated files
_MODULES = {
    "citizenship": (3950, 6670),
    "environment": (2450, 3440, 5500, 7650),
    "family": (1700, 2620, 3880, 5900, 10000),
    "health": (5800, 8000),
    "national_identity": (2880, 3910, 5950),
    "religion": (2150, 3190, 4950, 7570),
    "role_of_government": (1490, 1950, 2900, 4700, 6900),
    "social_inequality": (1680, 2310, 3430, 5400, 7600),
    "social_networks": (1620, 3680, 6980),
    "work_orientations": (1840, 3090, 4350, 6770),
}

_COUNTRIES = {
    "AR": "Argentina",
    "AT": "Austria",
    "AU": "Australia",
    "BD": "Bangladesh",
    "BE": "Belgium",
    "BE-BRU": "Belgium",
    "BE-FLA": "Belgium",
    "BE-WAL": "Belgium",
    "BG": "Bulgaria",
    "BR": "Brazil",
    "CA": "Canada",
    "CH": "Switzerland",
    "CL": "Chile",
    "CN": "China",
    "CY": "Cyprus",
    "CZ": "Czechia",
    "DE": "Germany",
    "DE-E": "Germany",
    "DE-W": "Germany",
    "DK": "Denmark",
    "DO": "the Dominican Republic",
    "EE": "Estonia",
    "ES": "Spain",
    "FI": "Finland",
    "FR": "France",
    "GB": "Great Britain",
    "GB-GBN": "Great Britain",
    "GB-NIR": "Northern Ireland",
    "GE": "Georgia",
    "GR": "Greece",
    "HR": "Croatia",
    "HU": "Hungary",
    "IE": "Ireland",
    "IL": "Israel",
    "IL-A": "Israel",
    "IL-J": "Israel",
    "IN": "India",
    "IS": "Iceland",
    "IT": "Italy",
    "JP": "Japan",
    "KE": "Kenya",
    "KR": "South Korea",
    "LT": "Lithuania",
    "LV": "Latvia",
    "MX": "Mexico",
    "NL": "the Netherlands",
    "NO": "Norway",
    "NZ": "New Zealand",
    "PH": "the Philippines",
    "PL": "Poland",
    "PT": "Portugal",
    "RO": "Romania",
    "RU": "Russia",
    "SE": "Sweden",
    "SI": "Slovenia",
    "SK": "Slovakia",
    "SR": "Suriname",
    "TH": "Thailand",
    "TR": "Turkey",
    "TW": "Taiwan",
    "UA": "Ukraine",
    "US": "the United States",
    "UY": "Uruguay",
    "VE": "Venezuela",
    "ZA": "South Africa",
}

# World Bank income groups of 2018, of those of the paper's 14 countries that take part
_TIERS = {
    "high_income": "AU CL DE DE-E DE-W GB GB-GBN JP NZ US",
    "upper_middle_income": "MX RU",
    "lower_income": "IN PH",
}

_COLLEGE = "with a college degree"
_NO_COLLEGE = "without a college degree"

ISSP = Preset(
    name="issp",
    title="International Social Survey Programme",
    country=("c_alphan", "country"),
    weight=("WEIGHT",),
    missing=(-1, -2, -3, -4, -5, -6, -7, -8, -9),
    attributes={
        "gender": (PresetAttribute("SEX", {"male": ((1,), "a man"), "female": ((2,), "a woman")}, (9,)),),
        "education": (
            PresetAttribute(
                "DEGREE",
                {"college": ((5, 6), _COLLEGE), "no_college": ((0, 1, 2, 3, 4), _NO_COLLEGE)},
                (8, 9),
            ),
            PresetAttribute(
                "EDULEVEL",  # ISCED 2011, 6 = bachelor's
                {"college": ((6, 7, 8), _COLLEGE), "no_college": ((0, 1, 2, 3, 4, 5), _NO_COLLEGE)},
            ),
        ),
        "residence": (
            PresetAttribute(
                "URBRURAL",
                {"urban": ((1, 2, 3), "living in an urban area"), "rural": ((4, 5), "living in a rural area")},
                (7, 8, 9),
            ),
        ),
        "marital_status": (
            PresetAttribute(
                "MARITAL",
                {"married": ((1,), "married"), "not_married": ((2, 3, 4, 5, 6), "not married")},
                (7, 8, 9),
            ),
        ),
    },
    country_names=_COUNTRIES,
    tiers={country: tier for tier, countries in _TIERS.items() for country in countries.split()},
    question=r"[vV][0-9]+[a-zA-Z]?",
    modules={number: topic for topic, numbers in _MODULES.items() for number in numbers},
    order_unknown=True,
)
