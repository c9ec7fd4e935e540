"""World Values Survey, wave 7 (2017 to 2023), the official cross-national or a national file.

Column names, codes and sections follow the WVS-7 questionnaire and codebook; docs/study.md gives each fact's source.
"""

from __future__ import annotations

from causal.presets.definition import Preset, PresetAttribute

_SECTIONS = {
    "social_values": (1, 45),
    "wellbeing": (46, 56),
    "social_capital_and_trust": (57, 105),
    "economic_values": (106, 111),
    "corruption": (112, 120),
    "migration": (121, 130),
    "security": (131, 151),
    "postmaterialism": (152, 157),
    "science_and_technology": (158, 163),
    "religious_values": (164, 175),
    "ethical_values": (176, 198),
    "political_interest_and_participation": (199, 234),
    "political_culture_and_regimes": (235, 259),
}

# World Bank income groups of 2018, of the paper's 14 countries
_TIERS = {
    "high_income": "AUS CHL DEU GBR JPN NZL USA",
    "upper_middle_income": "MEX RUS",
    "lower_income": "EGY ETH IND NGA PHL",
}

_COUNTRIES = {
    "AND": "Andorra",
    "ARG": "Argentina",
    "ARM": "Armenia",
    "AUS": "Australia",
    "BGD": "Bangladesh",
    "BOL": "Bolivia",
    "BRA": "Brazil",
    "CAN": "Canada",
    "CHL": "Chile",
    "CHN": "China",
    "COL": "Colombia",
    "CYP": "Cyprus",
    "CZE": "Czechia",
    "DEU": "Germany",
    "ECU": "Ecuador",
    "EGY": "Egypt",
    "ETH": "Ethiopia",
    "GBR": "Great Britain",
    "GRC": "Greece",
    "GTM": "Guatemala",
    "HKG": "Hong Kong",
    "IDN": "Indonesia",
    "IND": "India",
    "IRN": "Iran",
    "IRQ": "Iraq",
    "JOR": "Jordan",
    "JPN": "Japan",
    "KAZ": "Kazakhstan",
    "KEN": "Kenya",
    "KGZ": "Kyrgyzstan",
    "KOR": "South Korea",
    "LBN": "Lebanon",
    "LBY": "Libya",
    "MAC": "Macau",
    "MAR": "Morocco",
    "MDV": "the Maldives",
    "MEX": "Mexico",
    "MMR": "Myanmar",
    "MNG": "Mongolia",
    "MYS": "Malaysia",
    "NGA": "Nigeria",
    "NIC": "Nicaragua",
    "NIR": "Northern Ireland",
    "NLD": "the Netherlands",
    "NZL": "New Zealand",
    "PAK": "Pakistan",
    "PER": "Peru",
    "PHL": "the Philippines",
    "PRI": "Puerto Rico",
    "ROU": "Romania",
    "RUS": "Russia",
    "SGP": "Singapore",
    "SRB": "Serbia",
    "SVK": "Slovakia",
    "THA": "Thailand",
    "TJK": "Tajikistan",
    "TUN": "Tunisia",
    "TUR": "Turkey",
    "TWN": "Taiwan",
    "UKR": "Ukraine",
    "URY": "Uruguay",
    "USA": "the United States",
    "UZB": "Uzbekistan",
    "VEN": "Venezuela",
    "VNM": "Vietnam",
    "ZWE": "Zimbabwe",
}

WVS7 = Preset(
    name="wvs7",
    title="World Values Survey, wave 7",
    country=("B_COUNTRY_ALPHA",),
    weight=("W_WEIGHT",),
    missing=(-1, -2, -3, -4, -5),
    attributes={
        "gender": (PresetAttribute("Q260", {"male": ((1,), "a man"), "female": ((2,), "a woman")}),),
        "education": (
            PresetAttribute(
                "Q275",  # ISCED 2011, 6 = bachelor's
                {
                    "college": ((6, 7, 8), "with a college degree"),
                    "no_college": ((0, 1, 2, 3, 4, 5), "without a college degree"),
                },
            ),
        ),
        "residence": (
            PresetAttribute(
                "H_URBRURAL",
                {"urban": ((1,), "living in an urban area"), "rural": ((2,), "living in a rural area")},
            ),
        ),
        "marital_status": (
            PresetAttribute("Q273", {"married": ((1,), "married"), "not_married": ((2, 3, 4, 5, 6), "not married")}),
        ),
    },
    question=r"Q([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-9])",
    country_names=_COUNTRIES,
    tiers={country: tier for tier, countries in _TIERS.items() for country in countries.split()},
    topics={f"Q{i}": topic for topic, (first, last) in _SECTIONS.items() for i in range(first, last + 1)},
    # three ideas of society, knowledge items, the first and second of four national goals, party
    nominal=frozenset({"Q42", "Q91", "Q92", "Q93", *(f"Q{i}" for i in range(152, 158)), "Q223"}),
    no_answer={
        "Q111": (3,),  # another answer
        "Q221": (4,),  # may not vote
        "Q222": (4,),
        **{f"Q{i}": (0,) for i in range(241, 250)},  # volunteered, off the scale of 1 to 10
        "Q254": (5,),  # has not that nationality
    },
    order={"Q56": (1, 3, 2)},  # better off, the same, worse off
)
